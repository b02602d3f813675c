"""What stands between this door and its first event, in the order in which it would fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.checking.board import board_findings, clock_finding, privacy_finding, state_finding
from edge.checking.finding import Finding, asked, bad, good
from edge.checking.network import broker_finding, certificate_findings, metrics_finding
from edge.checking.scene import face_finding, view_findings
from edge.checking.software import (
    access_finding,
    lock_finding,
    model_findings,
    people_findings,
    settings_findings,
    snapshots_finding,
)
from edge.checking.view import View, view
from edge.config import DoorConfig, read_config
from edge.errors import ThresholdError
from edge.vision.reader import Vision, load_vision

_IN_USE = "plug it in, or set [camera] source; a door that runs has it: sudo systemctl stop edge"


def check(path: Path) -> Iterator[Finding]:
    """Look at everything, each as it is asked for; never raises for what it finds.

    Args:
        path: of door.toml.
    """
    try:
        config = read_config(path)
    except ThresholdError as error:
        remedy = (
            "edge setup writes one" if not path.exists() else "mend the file; docs/configuration.md lists every key"
        )
        yield bad("config", str(error), remedy)
        return
    yield good("config", f"{path}: door {config.site}/{config.door}")
    yield from board_findings(config)
    yield state_finding(config)
    yield privacy_finding(config, path)
    yield clock_finding(config)
    seen: View | None = None
    try:
        seen = view(config.camera)
    except ThresholdError as error:
        yield bad("camera", str(error), _IN_USE)
    else:
        yield from view_findings(config, seen)
    yield from _recognition(config, seen)
    yield asked("access", lambda: access_finding(config), "mend the policy; systemd/policy.toml is an example")
    remedy = "start one (sudo apt install mosquitto) or name yours in [mqtt] url; a door keeps its events meanwhile"
    yield asked("broker", lambda: broker_finding(config.mqtt), remedy)
    yield from certificate_findings(config)
    if lock := config.lock:
        yield asked("lock", lambda: lock_finding(lock), "see docs/wiring.md")
    if metrics := config.metrics:
        yield asked("metrics", lambda: metrics_finding(metrics, config.site), "see [metrics] in docs/configuration.md")
    if config.snapshots.kinds:
        yield snapshots_finding(config)
    yield from settings_findings(config)


def _recognition(config: DoorConfig, seen: View | None) -> Iterator[Finding]:
    try:
        vision: Vision = load_vision(config.models, config.detector, config.quality)
    except ThresholdError as error:
        yield bad("models", str(error), "do as it says, or reinstall threshold-edge")
        return
    yield from model_findings(config, vision)
    if seen is not None:
        yield face_finding(config, vision, seen)
    yield from people_findings(config, vision)
