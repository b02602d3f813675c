"""`edge check`: checks everything that can prevent the first event of a door."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

from edge.access.model import AccessRules
from edge.access.policy_file import load_configured_rules
from edge.core.config import DoorConfig, read_config
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError, ThresholdError
from edge.diagnostics.config_checks import (
    check_access,
    check_lock,
    check_models,
    check_people,
    check_recognition,
    check_settings,
    check_snapshots,
)
from edge.diagnostics.host_checks import check_board, check_clock, check_permissions, check_state_folder
from edge.diagnostics.image_checks import check_face, check_image
from edge.diagnostics.network_checks import check_broker, check_certificates, check_metrics
from edge.diagnostics.probes import CameraSample, sample_camera
from edge.diagnostics.report import CheckResult, fail_with, ok, run_check
from edge.runtime.release_manager import load_active_bundle
from edge.runtime.runtime_bundle import RuntimeBundle
from edge.vision.camera_source import SourceKind, source_of
from edge.vision.face_sampler import VisionStages, load_vision

_CAMERA = {
    SourceKind.PICAMERA: "install what is missing, check the cable, or stop a running door: sudo systemctl stop edge",
    SourceKind.DEVICE: "plug it in, set [camera] source, or stop a running door: sudo systemctl stop edge",
    SourceKind.STREAM: "check address, user, password and network; try  ffplay ADDRESS",
    SourceKind.RECORDING: "set [camera] source to a camera, or to a file that exists",
}
_BROKER = {
    ConfigError: "correct [mqtt] in door.toml; docs/reference/configuration.md lists its keys",
    BrokerRefusedError: "correct username, password_file or certificate in [mqtt], or add this door at the broker "
    "(mosquitto_passwd, acl_file)",
    BrokerError: "start the broker (sudo apt install mosquitto), or set [mqtt] url; events are kept until then",
}


def check(path: Path) -> Iterator[CheckResult]:
    """Run all checks of a door.toml lazily; problems are results, not exceptions."""
    try:
        config = read_config(path)
    except ThresholdError as error:
        remedy = "correct the file; docs/reference/configuration.md lists every key"
        yield fail_with("config", error, remedy)
        return
    yield ok("config", f"{path}, door {config.site}/{config.door}")
    yield from check_settings(config)
    yield from check_board(config)
    yield check_state_folder(config)
    yield check_permissions(config, path)
    seen: CameraSample | None = None
    try:
        seen = sample_camera(config.camera)
    except ThresholdError as error:
        yield fail_with("camera", error, _CAMERA[source_of(config.camera.source).kind])
    else:
        yield from check_image(config, seen)
    vision = yield from _check_vision(config, seen)
    bundle, release = _active_bundle(config, vision)
    if vision is not None:
        yield from check_recognition(config, vision.reader.embedder.impostors)
    yield from check_access(config, bundle, release)
    yield check_clock(config, bundle.rules if bundle else _rules(config))
    if lock := config.lock:
        yield run_check("lock", lambda: check_lock(lock), "see docs/guides/lock-wiring.md")
    yield _broker(config)
    yield from check_certificates(config)
    if metrics := config.metrics:
        remedy = "see [metrics] in docs/reference/configuration.md"
        yield run_check("metrics", lambda: check_metrics(metrics, config.site), remedy)
    if config.snapshots.kinds:
        yield check_snapshots(config)


def _broker(config: DoorConfig) -> CheckResult:
    try:
        return check_broker(config.mqtt)
    except (ConfigError, BrokerError) as error:
        remedy = next(remedy for kind, remedy in _BROKER.items() if isinstance(error, kind))
        return fail_with("broker", error, remedy)


def _check_vision(config: DoorConfig, seen: CameraSample | None) -> Generator[CheckResult, None, VisionStages | None]:
    """Check models, face and gallery; returns the loaded models, or None."""
    try:
        vision: VisionStages = load_vision(config.models, config.detector, config.quality)
    except ThresholdError as error:
        yield fail_with("models", error, "reinstall threshold-edge, or correct [models]")
        return None
    yield from check_models(config, vision)
    if seen is not None:
        yield check_face(config, vision, seen)
    yield from check_people(config, vision)
    return vision


def _active_bundle(config: DoorConfig, vision: VisionStages | None) -> tuple[RuntimeBundle | None, str]:
    """Models, gallery and rules in use, and their release; None if they do not load, which another check reports."""
    if vision is not None:
        with contextlib.suppress(ThresholdError):
            return load_active_bundle(config, vision)
    return None, ""


def _rules(config: DoorConfig) -> AccessRules | None:
    with contextlib.suppress(ThresholdError):
        return load_configured_rules(config.access)
    return None
