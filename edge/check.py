"""What stands between this door and its first event: every finding with its remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge.access.rules import rules_of
from edge.config import DoorConfig, read_config
from edge.errors import ConfigError, ThresholdError
from edge.host import clock_synced
from edge.identity.gallery import load_gallery
from edge.identity.sealing import read_key
from edge.messaging.login import connect
from edge.privacy import exposed, faces_in_the_clear
from edge.renewal import describe
from edge.vision.camera import open_camera
from edge.vision.reader import Vision, load_vision

_FRAMES = 3  # a camera that gives so many works


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""


def check(path: Path) -> list[Finding]:
    """Look at everything in the order in which it would fail; never raises for what it finds."""
    try:
        config = read_config(path)
    except ThresholdError as error:
        return [Finding("config", False, str(error), "mend the file; edge/config.py lists every key")]
    findings = [Finding("config", True, f"{path}: door {config.site}/{config.door}")]
    findings.extend(_look("camera", lambda: _camera(config), "plug it in, or set [camera] source"))
    vision: list[Vision] = []
    findings.extend(_look("models", lambda: _models(config, vision), "do as it says, or reinstall threshold-edge"))
    if vision and config.release:
        remedy = "edge trust ROOT.json, then  tools/sync.py publish  on the desktop"
        findings.extend(_look("release", lambda: describe(config, vision[0]), remedy))
    elif vision:
        findings.extend(_look("gallery", lambda: _gallery(config, vision[0]), "make one with tools/enroll.py"))
    findings.extend(_look("access", lambda: _access(config), "mend the policy; systemd/policy.toml is an example"))
    findings.extend(_look("broker", lambda: _broker(config), "see [mqtt] in door.toml; the daemon queues meanwhile"))
    findings.append(_state(Path(config.state_folder)))
    findings.append(_privacy(config))
    if config.snapshots.kinds:
        findings.append(_snapshots(config))
    findings.append(_clock())
    return findings


def _look(what: str, question: Callable[[], str], remedy: str) -> Iterator[Finding]:
    try:
        yield Finding(what, True, question())
    except ThresholdError as error:
        yield Finding(what, False, str(error), remedy)


def _camera(config: DoorConfig) -> str:
    with open_camera(config.camera) as camera:
        shape: tuple[int, ...] = ()
        for count, frame in enumerate(camera, start=1):
            shape = frame.pixels.shape
            if count == _FRAMES:
                break
        return f"{camera.name}: {shape[1]}x{shape[0]} px"


def _models(config: DoorConfig, vision: list[Vision]) -> str:
    vision.append(load_vision(config.models, config.detector, config.quality))
    names = ", ".join(model.contract.file for model in vision[0].models)
    return f"{names} on {vision[0].models[0].runtime}, delegate {config.models.delegate}"


def _gallery(config: DoorConfig, vision: Vision) -> str:
    info = load_gallery(Path(config.gallery), vision.reader.embedder.sha256, read_key(config.gallery_key)).info
    sealed = ", sealed" if config.gallery_key else ""
    return f"{config.gallery}: {info.people} people, version {info.version[:12]}{sealed}"


def _access(config: DoorConfig) -> str:
    door = rules_of(config.access).door(config.door)
    if not config.access.policy:
        return f"[access] allow: {len(door.allow)} pattern(s)"
    if not door.allow:
        raise ConfigError(f"{config.access.policy}: lets nobody through door '{config.door}' ({door.id})")
    return f"{config.access.policy}: {door.id}, {len(door.allow)} rule(s)"


def _broker(config: DoorConfig) -> str:
    connection, _ = connect(config.mqtt, client_id=f"threshold-check-{os.getpid()}")
    connection.close()
    return f"{config.mqtt.url}: accepts us, MQTT {connection.protocol}"


def _state(folder: Path) -> Finding:
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Finding("state", True, f"{folder}: writable")
    return Finding("state", False, f"{folder}: no folder that this user may write", "create it, or set state_folder")


def _privacy(config: DoorConfig) -> Finding:
    paths = " ".join(map(str, exposed(config)))
    if paths:
        return Finding("privacy", False, f"others than the door's user may read or write {paths}", f"chmod go= {paths}")
    return Finding("privacy", True, "gallery, events and keys are for the door's user alone")


def _snapshots(config: DoorConfig) -> Finding:
    clear = faces_in_the_clear(config)
    if clear:
        return Finding("snapshots", False, clear, "use mqtts:// (see systemd/mosquitto/), or take [snapshots] out")
    return Finding("snapshots", True, f"faces go to {config.mqtt.url}, of {', '.join(config.snapshots.kinds)}")


def _clock() -> Finding:
    if clock_synced():
        return Finding("clock", True, "synchronised")
    return Finding("clock", False, "not synchronised", "enable a time service: timedatectl set-ntp true")
