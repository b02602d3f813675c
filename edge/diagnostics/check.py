"""What stands between this door and its first event, in the order in which it would fail."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

from edge.access.model import AccessRules
from edge.access.policy_file import load_configured_rules
from edge.core.config import DoorConfig, read_config
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError, ThresholdError
from edge.diagnostics.access_checks import access_findings
from edge.diagnostics.camera_probe import CameraSample, sample_camera
from edge.diagnostics.config_checks import (
    laxity_findings,
    lock_finding,
    model_findings,
    people_findings,
    settings_findings,
    snapshots_finding,
)
from edge.diagnostics.host_checks import board_findings, clock_finding, privacy_finding, state_finding
from edge.diagnostics.image_checks import face_finding, view_findings
from edge.diagnostics.network_checks import broker_finding, certificate_findings, metrics_finding
from edge.diagnostics.result import CheckResult, ask, fail, ok
from edge.runtime.bundle import RuntimeBundle
from edge.runtime.release_manager import load_active_bundle
from edge.vision.camera_source import SourceKind, source_of
from edge.vision.face_sampler import VisionStages, load_vision

_CAMERA = {
    SourceKind.PICAMERA: "install what is missing, check the cable; a running door has it: sudo systemctl stop edge",
    SourceKind.DEVICE: "plug it in, or set [camera] source; a running door has it: sudo systemctl stop edge",
    SourceKind.STREAM: "check address, user, password and network; play it elsewhere, such as by ffplay ADDRESS",
    SourceKind.RECORDING: "set [camera] source to a camera, or to a file that exists",
}
_BROKER = {
    ConfigError: "correct [mqtt] in door.toml; docs/configuration.md lists its keys",
    BrokerRefusedError: "correct username, password_file or certificate in [mqtt], or let this door in at the broker "
    "(mosquitto_passwd, acl_file)",
    BrokerError: "start the broker (sudo apt install mosquitto), or set [mqtt] url to yours; events are kept",
}


def check(path: Path) -> Iterator[CheckResult]:
    """Look at everything, each as it is asked for; never raises for what it finds.

    Args:
        path: of door.toml.
    """
    try:
        config = read_config(path)
    except ThresholdError as error:
        remedy = (
            "edge setup writes one" if not path.exists() else "correct the file; docs/configuration.md lists every key"
        )
        yield fail("config", str(error), remedy)
        return
    yield ok("config", f"{path}: door {config.site}/{config.door}")
    yield from board_findings(config)
    yield state_finding(config)
    yield privacy_finding(config, path)
    seen: CameraSample | None = None
    try:
        seen = sample_camera(config.camera)
    except ThresholdError as error:
        yield fail("camera", str(error), _CAMERA[source_of(config.camera.source).kind])
    else:
        yield from view_findings(config, seen)
    vision = yield from _recognition(config, seen)
    kit, release = _kit(config, vision)
    if vision is not None:
        yield from laxity_findings(config, vision.reader.embedder.impostors)
    yield from access_findings(config, kit, release)
    yield clock_finding(config, kit.rules if kit else _rules(config))
    yield _broker(config)
    yield from certificate_findings(config)
    if lock := config.lock:
        yield ask("lock", lambda: lock_finding(lock), "see docs/wiring.md")
    if metrics := config.metrics:
        yield ask("metrics", lambda: metrics_finding(metrics, config.site), "see [metrics] in docs/configuration.md")
    if config.snapshots.kinds:
        yield snapshots_finding(config)
    yield from settings_findings(config)


def _broker(config: DoorConfig) -> CheckResult:
    try:
        return broker_finding(config.mqtt)
    except (ConfigError, BrokerError) as error:
        remedy = next(remedy for kind, remedy in _BROKER.items() if isinstance(error, kind))
        return fail("broker", str(error), remedy)


def _recognition(config: DoorConfig, seen: CameraSample | None) -> Generator[CheckResult, None, VisionStages | None]:
    """Returns the models, unless they cannot be loaded."""
    try:
        vision: VisionStages = load_vision(config.models, config.detector, config.quality)
    except ThresholdError as error:
        yield fail("models", str(error), "do as it says, or reinstall threshold-edge")
        return None
    yield from model_findings(config, vision)
    if seen is not None:
        yield face_finding(config, vision, seen)
    yield from people_findings(config, vision)
    return vision


def _kit(config: DoorConfig, vision: VisionStages | None) -> tuple[RuntimeBundle | None, str]:
    """What the door runs; None if it does not load, which another finding reports."""
    if vision is not None:
        with contextlib.suppress(ThresholdError):
            return load_active_bundle(config, vision)
    return None, ""


def _rules(config: DoorConfig) -> AccessRules | None:
    with contextlib.suppress(ThresholdError):
        return load_configured_rules(config.access)
    return None
