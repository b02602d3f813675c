"""Checks of models, gallery, releases, access rules, lock and settings."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from support.door_checks import PLAIN, a_door, one, write
from support.mqtt_brokers import wait_until
from support.release_signer import Door, ReleaseSigner

from edge.core.config import (
    CameraConfig,
    LivenessConfig,
    LockConfig,
    ModelsConfig,
    MqttConfig,
    RecognitionConfig,
    ReleaseConfig,
    read_config,
)
from edge.core.errors import ModelError
from edge.demo.run_demo import GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.config_checks import (
    check_lock,
    check_metadata_expiry,
    check_models,
    check_recognition,
    check_settings,
)
from edge.diagnostics.report import CheckResult, State
from edge.runtime.daemon import Daemon
from edge.runtime.release_manager import install_root, release_expiry
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.release_format import POLICY
from edge.updates.sources import FolderSource
from edge.vision.face_sampler import VisionStages, load_vision


def test_models_and_their_runtime(vision: VisionStages, tmp_path: Path) -> None:
    runtime = one(check_models(PLAIN, vision), "runtime")
    assert "ai-edge-litert" in runtime.detail or "tflite-runtime" in runtime.detail
    slow = itertools.count(step=0.05).__next__  # 50 ms for each model, at 15 frames per second
    assert "too slow for 15 frames per second" in one(check_models(PLAIN, vision, slow), "runtime").detail
    with pytest.raises(ModelError):
        load_vision(ModelsConfig(folder=str(tmp_path)), PLAIN.detector, PLAIN.quality)


def test_model_without_delegate_is_counted(vision: VisionStages) -> None:
    """The runtime's list of operations shows XNNPACK for every model."""
    assert all(model.delegated for model in vision.models if model.runtime == "ai-edge-litert")


def test_expiring_and_expired_metadata(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    desk = ReleaseSigner(tmp_path / "desk")
    (tmp_path / "root.json").write_bytes(desk.root)
    config = msgspec.structs.replace(PLAIN, state_folder=str(state), release=ReleaseConfig())
    install_root(config, tmp_path / "root.json")
    end = release_expiry(config)["root"]
    assert check_metadata_expiry(config, end - timedelta(days=90)).state is State.OK
    soon = check_metadata_expiry(config, end - timedelta(days=9))
    assert (soon.state, "expires in 9 days" in soon.detail, "rotate" in soon.remedy) == (State.WARN, True, True)
    assert "expired 2 days ago" in check_metadata_expiry(config, end + timedelta(days=2, hours=-1)).detail


def access(door_toml: Path) -> CheckResult:
    return one(check(door_toml), "access")


@pytest.mark.parametrize(
    ("rules", "state", "told"),
    [
        ("", State.OK, "[access] allow: door 'b', 1 rule, 1 person of 1 may pass"),
        ("[access]\nallow = []\n", State.FAIL, "[access] allow: nobody may pass at door 'b'"),
        ("[access]\nallow = ['ada', 'b*d']\n", State.FAIL, "nobody in the gallery may pass at door 'b'"),
        (
            "[access]\nallow = ['barack-*', 'ada']\n",
            State.WARN,
            "2 rules, 1 person of 1 may pass; 1 rule matches nobody in the gallery: allow ada",
        ),
    ],
)
def test_access_rules_compared_with_the_gallery(tmp_path: Path, rules: str, state: State, told: str) -> None:
    """Rules that let nobody pass are an error; a rule that matches nobody in the gallery is a warning."""
    found = access(a_door(tmp_path, rules))
    assert found.state is state
    assert told in found.detail


def test_access_rules_without_a_gallery(tmp_path: Path) -> None:
    """The rules are still read, and their errors are reported."""
    assert "1 rule" in access(a_door(tmp_path, "", tmp_path / "none")).detail
    write(tmp_path / "policy.toml", "[doors.b]\nallow = [{ groups = ['staff'] }]\n")
    found = access(a_door(tmp_path, f"[access]\npolicy = '{tmp_path}/policy.toml'\n", tmp_path / "none"))
    assert (found.state, "no group 'staff'" in found.detail) == (State.FAIL, True)


def test_access_rules_of_the_release_in_force(tmp_path: Path, vision: VisionStages) -> None:
    """Rules of a release replace those of door.toml, and `edge check` reports them."""
    door_toml = a_door(tmp_path, "[access]\nallow = ['*']\n[release]\n")
    desk, embedder = ReleaseSigner(tmp_path / "desk"), vision.reader.embedder.sha256

    def published(policy: str | None) -> CheckResult:
        files = {GALLERY_FILE: GALLERY.read_bytes(), **({POLICY: policy.encode()} if policy else {})}
        number = desk.release_files(files, 1, embedder=embedder).release
        with Door(tmp_path / "state", desk.root, FolderSource(desk.folder), embedder=embedder) as door:
            wait_until(lambda: door.release == number, "the release runs")
        return access(door_toml)

    assert "[access] allow: door 'b', 1 rule, 1 person of 1 may pass" in published(None).detail
    nobody = published("[doors.front]\nallow = [{ people = ['*'] }]\n")
    assert nobody.state is State.FAIL
    assert nobody.detail.startswith("rules of release 2 ([access] of door.toml is not used): nobody may")
    others = published("[doors.b]\nallow = [{ people = ['ada'] }]\n")
    assert (others.state, "nobody in the gallery may pass" in others.detail) == (State.FAIL, True)
    known = published("[doors.b]\nallow = [{ people = ['barack-obama'] }]\n")
    assert (known.state, "1 person of 1 may pass" in known.detail) == (State.OK, True)


def test_lock_pin_pulled_wrongly_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    assert check_lock(LockConfig(pin=17)).state is State.OK
    assert "may open the lock during boot" in check_lock(LockConfig(pin=6)).detail
    assert "may open the lock during boot" in check_lock(LockConfig(pin=17, active_high=False)).detail
    assert check_lock(LockConfig(pin=6, active_high=False)).state is State.OK
    assert "the board uses this pin" in check_lock(LockConfig(pin=2)).detail
    factory.reset()


@pytest.mark.parametrize(
    ("changes", "state", "told"),
    [
        ({}, None, ""),
        ({"threshold_sq": 0.93}, None, ""),
        ({"threshold_sq": 0.5, "threshold_factor": 1.5, "vote_slack_sq": 0.5}, None, ""),
        (
            {"threshold_sq": 4.0},
            State.FAIL,
            "4: thresholds of up to 4.00, calibrated ones are at most 0.93",
        ),
        ({"threshold_sq": 1.0}, State.WARN, "up to 1 in 1,000 strangers match each enrolled person"),
        ({"threshold_factor": 2.0}, State.FAIL, "threshold_factor = 2: thresholds of up to 1.86"),
        ({"threshold_factor": 1.1}, State.WARN, "threshold_factor = 1.1: thresholds of up to 1.02"),
        ({"threshold_sq": 0.9, "vote_slack_sq": 4.0}, State.WARN, "vote_slack_sq = 4"),
        ({"min_samples": 1}, State.WARN, "min_samples = 1: a single sample decides"),
        ({"margin_sq": 0.0}, State.WARN, "margin_sq = 0"),
    ],
)
def test_verdict_settings_looser_than_calibration(
    vision: VisionStages, changes: dict[str, float], state: State | None, told: str
) -> None:
    """Above any calibrated threshold is a warning; above the table of the embedder is an error."""
    config = msgspec.structs.replace(PLAIN, recognition=RecognitionConfig(**changes))  # type: ignore[arg-type]
    found = list(check_recognition(config, vision.reader.embedder.impostors))
    assert [finding.state for finding in found] == ([state] if state else [])
    assert all(told in finding.detail and finding.remedy for finding in found)


def test_loose_thresholds_in_check_and_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Thresholds that admit strangers are an error of `edge check` and a warning in the log."""
    path = a_door(tmp_path, "[recognition]\nthreshold_sq = 4.0\nmin_samples = 1\n")
    states = [finding.state for finding in check(path) if finding.what == "verdict"]
    assert states == [State.FAIL, State.WARN]
    Daemon(read_config(path))
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told[0].startswith("[recognition] threshold_sq = 4: thresholds of up to 4.00")
    assert told[1] == "[recognition] min_samples = 1: a single sample decides"


def test_conflicting_settings() -> None:
    live = msgspec.structs.replace(PLAIN, camera=CameraConfig(source="/dev/video0"))
    assert one(check_settings(live), "settings").state is State.OK
    locked = msgspec.structs.replace(live, lock=LockConfig(pin=17))
    assert "a photo" in one(check_settings(locked), "settings").detail
    watched = msgspec.structs.replace(locked, liveness=LivenessConfig(mode="passive"))
    assert one(check_settings(watched), "settings").state is State.OK
    played = msgspec.structs.replace(watched, camera=PLAIN.camera)
    assert one(check_settings(played), "settings").state is State.FAIL
    hurried = msgspec.structs.replace(watched, liveness=LivenessConfig(mode="challenge", challenge_step_timeout_s=1.0))
    assert "= 1: too short" in one(check_settings(hurried), "settings").detail
    stale = msgspec.structs.replace(watched, mqtt=MqttConfig(open_max_age_s=60.0))
    assert "= 60: the door may open that late" in one(check_settings(stale), "settings").detail
