"""`edge check`: everything that can be wrong is provoked, and found with its remedy."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from support.broker_site import MOSQUITTO_PASSWD, BrokerSite, make_keys, shipped_config
from support.door_process import a_disk
from support.fake_camera import Webcam, jpeg
from support.manual_clock import ManualClock
from support.mqtt_brokers import Mosquitto, free_port, needs_mosquitto, wait_until
from support.release_signer import Door, ReleaseSigner

from edge.access.model import allow_list
from edge.access.policy_file import parse_policy
from edge.core.config import (
    AccessConfig,
    CameraConfig,
    DoorConfig,
    LivenessConfig,
    LockConfig,
    MetricsConfig,
    ModelsConfig,
    MqttConfig,
    QualityConfig,
    RecognitionConfig,
    ReleaseConfig,
    read_config,
)
from edge.core.errors import CameraError, ModelError
from edge.core.records import Frame
from edge.demo.run_demo import CLIP, GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.config_checks import (
    check_lock,
    check_metadata_expiry,
    check_models,
    check_recognition,
    check_settings,
)
from edge.diagnostics.host_checks import check_board, check_clock, check_permissions, check_state_folder
from edge.diagnostics.image_checks import check_face, check_image, sharpness
from edge.diagnostics.network_checks import check_broker, check_certificates, check_metrics
from edge.diagnostics.probes import CameraSample, sample_camera
from edge.diagnostics.report import CheckResult, State, row, summary
from edge.runtime.daemon import Daemon
from edge.runtime.release_manager import install_root, release_expiry
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.release_format import POLICY
from edge.updates.sources import FolderSource
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages, load_vision

PLAIN = DoorConfig(site="a", door="b", camera=CameraConfig(source=str(CLIP)))
MEMINFO = "MemTotal: {total} kB\nMemAvailable: {free} kB\n"


def one(findings: object, what: str) -> CheckResult:
    (found,) = [finding for finding in findings if finding.what == what]  # type: ignore[attr-defined]
    assert (found.state is State.OK) is (found.remedy == "")
    assert isinstance(found, CheckResult)
    return found


# The board


@pytest.fixture
def sys_folder(tmp_path: Path) -> Path:
    """A /sys and a /proc of a board in good health."""
    write(tmp_path / "proc/meminfo", MEMINFO.format(total=1_000_000, free=600_000))
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "48000\n")
    write(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    return tmp_path / "sys"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def board(sys_folder: Path, what: str, config: DoorConfig = PLAIN) -> CheckResult:
    return one(check_board(config, sys=sys_folder, proc=sys_folder.with_name("proc")), what)


@pytest.mark.parametrize(
    ("flags", "state", "told"),
    [
        ("0", State.OK, "no under-voltage"),
        ("50005", State.FAIL, "under-voltage now"),
        ("50000", State.WARN, "under-voltage since the start"),
        ("e0008", State.WARN, "slowed down now, by heat"),
        ("80000", State.WARN, "was slowed down since the start"),
    ],
)
def test_a_weak_supply_and_throttling_are_found_as_the_firmware_tells(
    sys_folder: Path, flags: str, state: State, told: str
) -> None:
    write(sys_folder / "devices/platform/soc/soc:firmware/get_throttled", f"{flags}\n")
    found = board(sys_folder, "power")
    assert found.state is state
    assert told in found.detail


def test_a_weak_supply_is_found_as_the_kernel_alone_tells(sys_folder: Path) -> None:
    shutil.rmtree(sys_folder / "devices")
    assert board(sys_folder, "power").detail == "not available on this hardware"
    write(sys_folder / "class/hwmon/hwmon1/name", "rpi_volt\n")
    alarm = write(sys_folder / "class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    assert board(sys_folder, "power").state is State.OK
    alarm.write_text("1\n")
    assert board(sys_folder, "power").state is State.FAIL


@pytest.mark.parametrize(("degrees", "state"), [(48, State.OK), (72, State.WARN), (83, State.FAIL)])
def test_heat_is_found(sys_folder: Path, degrees: int, state: State) -> None:
    write(sys_folder / "class/thermal/thermal_zone0/temp", f"{degrees}000\n")
    found = board(sys_folder, "heat")
    assert (found.state, found.detail[:2]) == (state, str(degrees))


@pytest.mark.parametrize(("free_kb", "state"), [(600_000, State.OK), (200_000, State.WARN), (90_000, State.FAIL)])
def test_too_little_memory_is_found(sys_folder: Path, free_kb: int, state: State) -> None:
    write(sys_folder.with_name("proc") / "meminfo", MEMINFO.format(total=1_000_000, free=free_kb))
    assert board(sys_folder, "memory").state is state


def test_a_worn_card_is_found(sys_folder: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(PLAIN, state_folder=str(tmp_path / "not-there-yet"))
    number = tmp_path.stat().st_dev
    device = sys_folder / f"dev/block/{os.major(number)}:{os.minor(number)}/device"
    life = write(device / "life_time", "0x02 0x03\n")
    write(device / "pre_eol_info", "0x01\n")
    assert "wear" not in [f.what for f in check_board(config, sys=sys_folder, proc=sys_folder.with_name("proc"))]
    life.write_text("0x02 0x0a\n")
    assert "100 % of its life" in board(sys_folder, "wear", config).detail


def test_a_full_and_a_read_only_disk_are_found(sys_folder: Path, tmp_path: Path) -> None:
    with a_disk(tmp_path / "card", 64) as disk:
        config = msgspec.structs.replace(PLAIN, state_folder=str(disk.folder))
        assert board(sys_folder, "disk", config).state is State.WARN
        disk.fill()
        assert board(sys_folder, "disk", config).state is State.FAIL
        disk.empty()
        disk.remount("ro")
        assert "read-only" in board(sys_folder, "disk", config).detail


def test_a_state_folder_that_is_missing_is_found(tmp_path: Path) -> None:
    assert check_state_folder(msgspec.structs.replace(PLAIN, state_folder=str(tmp_path))).state is State.OK
    found = check_state_folder(msgspec.structs.replace(PLAIN, state_folder=str(tmp_path / "none")))
    assert (found.state, "install -d -m 700" in found.remedy) == (State.FAIL, True)


def test_a_password_of_a_camera_that_all_may_read_is_found(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    camera = CameraConfig(source="rtsp://u:secret@camera/stream")
    config = msgspec.structs.replace(PLAIN, state_folder=str(state), gallery=str(state / "g"), camera=camera)
    path = write(tmp_path / "door.toml", "")
    path.chmod(0o644)
    found = check_permissions(config, path)
    assert (found.state, found.remedy) == (State.FAIL, f"chmod o= {path}")
    assert "secret" not in found.detail
    path.chmod(0o640)
    assert check_permissions(config, path).state is State.OK


TIMED = """
timezone = "Europe/Berlin"
[schedules.day]
mon-fri = ["07:00-19:00"]
[doors.b]
allow = [{ people = ["ada"], schedule = "day" }, { people = ["bob"] }]
"""


def test_clock_not_set(tmp_path: Path) -> None:
    """An error where rules with times let nobody in, or expiry cannot be checked; else a warning."""
    clock = ManualClock(synced=False)
    always, timed = allow_list(["*"]), parse_policy(write(tmp_path / "policy.toml", TIMED))
    assert check_clock(PLAIN, always, clock).state is State.WARN
    found = check_clock(PLAIN, timed, clock)
    assert found.state is State.FAIL
    assert found.detail == "not synchronised: 1 of 2 rules have times, and let nobody in until it is"
    assert "let nobody in" not in check_clock(msgspec.structs.replace(PLAIN, door="c"), timed, clock).detail
    dated = parse_policy(write(tmp_path / "p.toml", f"{TIMED}[people.bob]\nvalid_until = 2030-01-01\n[doors.c]\n"))
    other = check_clock(msgspec.structs.replace(PLAIN, door="c"), dated, clock)
    assert other.detail == "not synchronised: people have dates of validity, and let nobody in until it is"
    releases = msgspec.structs.replace(PLAIN, release=ReleaseConfig())
    assert check_clock(releases, None, clock).detail == "not synchronised: the expiry of releases cannot be checked"
    trusted = msgspec.structs.replace(PLAIN, access=AccessConfig(trust_clock=True))
    assert check_clock(trusted, timed, clock).state is State.WARN


# The camera


def scene(change: object = None, noise: float = 0.0) -> CameraSample:
    """Some frames of the bundled clip, each changed."""
    with VideoFileCamera(CLIP) as clip:
        frames = [
            Frame(frame.pixels.copy(), frame.seq, frame.captured_ns) for frame, _ in zip(clip, range(30), strict=False)
        ]
    chance = np.random.default_rng(5)
    changed = []
    for frame in frames[-8:]:
        pixels = change(frame.pixels) if callable(change) else frame.pixels
        grainy = pixels.astype(np.float32) + chance.normal(0, noise, pixels.shape) if noise else pixels
        changed.append(Frame(np.clip(grainy, 0, 255).astype(np.uint8), frame.seq, frame.captured_ns))
    return CameraSample("clip", recorded=False, fps=15.0, frames=tuple(changed))


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        (None, State.OK, "mean level"),
        (lambda pixels: pixels // 40, State.FAIL, "black"),
        (lambda pixels: pixels // 5, State.WARN, "dark"),
        (lambda pixels: np.maximum(pixels, 250), State.FAIL, "flooded"),
        (lambda pixels: np.where(np.arange(640)[None, :, None] < 300, 255, pixels), State.WARN, "is white"),
        (lambda pixels: np.full_like(pixels, 120), State.FAIL, "covered"),
    ],
)
def test_light_that_does_not_serve_is_found(change: object, state: State, told: str) -> None:
    found = one(check_image(PLAIN, scene(change)), "exposure")
    assert found.state is state
    assert told in found.detail


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_a_lens_out_of_focus_is_found_also_under_noise(noise: float) -> None:
    """By what the blur takes away, and not by the noise that a sensor adds after it."""
    sharp = scene(noise=noise)
    blurred = scene(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 5), noise=noise)
    assert one(check_image(PLAIN, sharp), "focus").state is State.OK
    assert one(check_image(PLAIN, blurred), "focus").state is State.WARN
    assert sharpness(sharp.frames) > 4 * sharpness(blurred.frames)


def test_a_slow_camera_is_found() -> None:
    assert one(check_image(PLAIN, scene()), "rate").state is State.OK
    slow = CameraSample("c", recorded=False, fps=6.2, frames=scene().frames)
    assert "6.2 frames a second of 15 asked for" in one(check_image(PLAIN, slow), "rate").detail


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        (None, State.OK, "px between the eyes"),
        (lambda pixels: np.full_like(pixels, 90), State.WARN, "nobody stands before the camera"),
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 7), State.FAIL, "blurred"),
        (lambda pixels: pixels // 16, State.FAIL, "too-dark"),
    ],
)
def test_a_face_is_read_as_the_door_would(vision: VisionStages, change: object, state: State, told: str) -> None:
    found = check_face(PLAIN, vision, scene(change))
    assert found.state is state, found
    assert told in found.detail


def test_a_face_too_far_away_is_found_with_both_distances() -> None:
    config = msgspec.structs.replace(PLAIN, quality=QualityConfig(min_size_px=70))
    found = check_face(config, load_vision(config.models, config.detector, config.quality), scene())
    assert found.state is State.FAIL
    assert "too-small" in found.detail
    assert "at least 70 wanted" in found.detail


def test_a_camera_is_looked_through_and_one_that_is_not_there_is_found() -> None:
    with VideoFileCamera(CLIP) as clip:
        pictures = [jpeg(frame.pixels) for frame, _ in zip(clip, range(20), strict=False)]
    webcam = Webcam(pictures)
    webcam.plug()
    seen = sample_camera(CameraConfig(source=webcam.url))
    webcam.unplug()
    assert seen.size == "640x480 px"
    assert 1 <= len(seen.frames) <= 8
    assert seen.fps > 0
    assert one(check_image(PLAIN, sample_camera(PLAIN.camera)), "camera").state is State.WARN  # a recording
    with pytest.raises(CameraError):
        sample_camera(CameraConfig(source=webcam.url))


# What runs


def test_models_tell_what_runs_them_and_missing_ones_are_found(vision: VisionStages, tmp_path: Path) -> None:
    runtime = one(check_models(PLAIN, vision), "runtime")
    assert "ai-edge-litert" in runtime.detail or "tflite-runtime" in runtime.detail
    slow = itertools.count(step=0.05).__next__  # 50 ms a model, and 15 frames a second
    assert "longer than a frame" in one(check_models(PLAIN, vision, slow), "runtime").detail
    with pytest.raises(ModelError):
        load_vision(ModelsConfig(folder=str(tmp_path)), PLAIN.detector, PLAIN.quality)


def test_a_network_without_a_delegate_would_be_noticed(vision: VisionStages) -> None:
    """XNNPACK is really used: the runtime's own list of operations says so for every model."""
    assert all(model.delegated for model in vision.models if model.runtime == "ai-edge-litert")


def test_trust_that_ends_soon_or_has_ended_is_found(tmp_path: Path) -> None:
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


def a_door(folder: Path, more: str, gallery: Path = GALLERY) -> Path:
    (folder / "state").mkdir(exist_ok=True)
    return write(
        folder / "door.toml",
        f'site = "a"\ndoor = "b"\nstate_folder = "{folder}/state"\ngallery = "{gallery}"\n'
        f'[camera]\nsource = "{folder}/none.mp4"\n{more}'
        + ("" if "[mqtt]" in more else '[mqtt]\nurl = "mqtt://127.0.0.1:1"\n'),
    )


@pytest.mark.parametrize(
    ("rules", "state", "told"),
    [
        ("", State.OK, "[access] allow: door 'b', 1 rule, 1 person of 1 may pass"),
        ("[access]\nallow = []\n", State.FAIL, "[access] allow: lets nobody through door 'b'"),
        ("[access]\nallow = ['ada', 'b*d']\n", State.FAIL, "nobody in the gallery may pass at door 'b'"),
        (
            "[access]\nallow = ['barack-*', 'ada']\n",
            State.WARN,
            "2 rules, 1 person of 1 may pass; these name nobody in the gallery: allow ada",
        ),
    ],
)
def test_access_rules_held_against_the_gallery(tmp_path: Path, rules: str, state: State, told: str) -> None:
    """Rules that let nobody pass are an error, and a rule that names nobody in the gallery is a warning."""
    found = access(a_door(tmp_path, rules))
    assert found.state is state
    assert told in found.detail


def test_access_rules_without_a_gallery(tmp_path: Path) -> None:
    """They are still read, and what is wrong with them is told."""
    assert "1 rule" in access(a_door(tmp_path, "", tmp_path / "none")).detail
    write(tmp_path / "policy.toml", "[doors.b]\nallow = [{ groups = ['staff'] }]\n")
    found = access(a_door(tmp_path, f"[access]\npolicy = '{tmp_path}/policy.toml'\n", tmp_path / "none"))
    assert (found.state, "no group 'staff'" in found.detail) == (State.FAIL, True)


def test_access_rules_of_the_release_in_force(tmp_path: Path, vision: VisionStages) -> None:
    """A release that brings rules replaces those of door.toml: check reports the former, and what they come to."""
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
    assert nobody.detail.startswith("rules of release 2 ([access] of door.toml is not in force): lets nobody")
    others = published("[doors.b]\nallow = [{ people = ['ada'] }]\n")
    assert (others.state, "nobody in the gallery may pass" in others.detail) == (State.FAIL, True)
    known = published("[doors.b]\nallow = [{ people = ['barack-obama'] }]\n")
    assert (known.state, "1 person of 1 may pass" in known.detail) == (State.OK, True)


def test_a_lock_is_tried_and_a_pin_that_is_pulled_the_wrong_way_at_the_start_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    assert check_lock(LockConfig(pin=17)).state is State.OK
    assert "may close while the board starts" in check_lock(LockConfig(pin=6)).detail
    assert "may close while the board starts" in check_lock(LockConfig(pin=17, active_high=False)).detail
    assert check_lock(LockConfig(pin=6, active_high=False)).state is State.OK
    assert "itself uses this pin" in check_lock(LockConfig(pin=2)).detail
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
        ({"threshold_sq": 1.0}, State.WARN, "up to 1 in 1,000 strangers match each person"),
        ({"threshold_factor": 2.0}, State.FAIL, "threshold_factor = 2: thresholds of up to 1.86"),
        ({"threshold_factor": 1.1}, State.WARN, "threshold_factor = 1.1: thresholds of up to 1.02"),
        ({"threshold_sq": 0.9, "vote_slack_sq": 4.0}, State.WARN, "vote_slack_sq = 4"),
        ({"min_samples": 1}, State.WARN, "min_samples = 1: a single picture decides"),
        ({"margin_sq": 0.0}, State.WARN, "margin_sq = 0"),
    ],
)
def test_verdict_settings_looser_than_calibration(
    vision: VisionStages, changes: dict[str, float], state: State | None, told: str
) -> None:
    """By the embedder's own table: beyond any calibrated threshold is a warning, beyond the table an error."""
    config = msgspec.structs.replace(PLAIN, recognition=RecognitionConfig(**changes))  # type: ignore[arg-type]
    found = list(check_recognition(config, vision.reader.embedder.impostors))
    assert [finding.state for finding in found] == ([state] if state else [])
    assert all(told in finding.detail and finding.remedy for finding in found)


def test_loose_thresholds_in_check_and_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A door.toml that opens to anybody is an error of `edge check`, and a warning in the log of a door that starts."""
    path = a_door(tmp_path, "[recognition]\nthreshold_sq = 4.0\nmin_samples = 1\n")
    states = [finding.state for finding in check(path) if finding.what == "verdict"]
    assert states == [State.FAIL, State.WARN]
    Daemon(read_config(path))
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told[0].startswith("[recognition] threshold_sq = 4: thresholds of up to 4.00")
    assert told[1] == "[recognition] min_samples = 1: a single picture decides"


def test_settings_that_do_not_go_together_are_found() -> None:
    live = msgspec.structs.replace(PLAIN, camera=CameraConfig(source="/dev/video0"))
    assert one(check_settings(live), "settings").state is State.OK
    locked = msgspec.structs.replace(live, lock=LockConfig(pin=17))
    assert "a photo" in one(check_settings(locked), "settings").detail
    watched = msgspec.structs.replace(locked, liveness=LivenessConfig(mode="passive"))
    assert one(check_settings(watched), "settings").state is State.OK
    played = msgspec.structs.replace(watched, camera=PLAIN.camera)
    assert one(check_settings(played), "settings").state is State.FAIL
    hurried = msgspec.structs.replace(watched, liveness=LivenessConfig(mode="challenge", challenge_step_timeout_s=1.0))
    assert "1 s to hear what is asked" in one(check_settings(hurried), "settings").detail
    stale = msgspec.structs.replace(watched, mqtt=MqttConfig(open_max_age_s=60.0))
    assert "60 s after" in one(check_settings(stale), "settings").detail


# The broker


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    make_keys(folder, "ca")
    make_keys(folder, "server", "localhost")
    make_keys(folder, "client", "front")
    shutil.copy(Path(__file__).parents[2] / "systemd/mosquitto/threshold.acl", folder)
    (folder / "passwords").touch()
    return folder


def open_site(folder: Path, tmp_path: Path) -> Mosquitto:
    return Mosquitto(tmp_path, conf=shipped_config(folder, free_port()))


@needs_mosquitto
def test_certificates_that_end_soon_or_have_ended_are_found_with_the_names_on_them(site: Path, tmp_path: Path) -> None:
    with open_site(site, tmp_path) as mosquitto:
        config = msgspec.structs.replace(PLAIN, mqtt=BrokerSite(site, mosquitto.port, 0).member("front"))
        assert check_broker(config.mqtt).state is State.OK
        now = datetime.now(UTC)
        shown = list(check_certificates(config, now))
        assert [finding.state for finding in shown] == [State.OK] * 3  # the broker's, ours, the authority's
        assert "made out to localhost" in shown[0].detail
        late = list(check_certificates(config, now + timedelta(days=20_000)))
        assert [finding.state for finding in late] == [State.FAIL] * 3
        early = list(check_certificates(config, now - timedelta(days=5)))
        assert all("not valid before" in finding.detail for finding in early)


@needs_mosquitto
def test_a_broker_with_an_expired_certificate_is_found(site: Path, tmp_path: Path) -> None:
    for name in ("server.key", "server.crt"):
        (site / name).unlink()
    make_keys(site, "server", "localhost", days=-1)
    with open_site(site, tmp_path) as mosquitto:
        member = BrokerSite(site, mosquitto.port, 0).member("front")
        path = tmp_path / "door.toml"
        path.write_text(
            f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}"\ngallery = "{GALLERY}"\n[camera]\nsource = "{CLIP}"\n'
            f'[mqtt]\nurl = "{member.url}"\nca_file = "{member.ca_file}"\n'
            f'cert_file = "{member.cert_file}"\nkey_file = "{member.key_file}"\n'
        )
        found = list(check(path))
    assert "has expired" in one(found, "broker").detail
    (shown,) = [finding for finding in found if finding.what == "tls" and finding.state is State.FAIL]
    assert "the broker's, made out to localhost: expired on" in shown.detail


def test_a_port_for_prometheus_that_is_taken_or_open_to_all_is_found() -> None:
    config = MetricsConfig(port=free_port())
    assert check_metrics(config, "s").state is State.OK
    assert "for whoever reaches it" in check_metrics(MetricsConfig(listen="0.0.0.0", port=config.port), "s").detail
    with socket.create_server(("127.0.0.1", config.port)):
        assert check_metrics(config, "s").state is State.FAIL


@needs_mosquitto
def test_remedy_for_a_refused_login(tmp_path: Path) -> None:
    """A wrong password is no reason to install a broker."""
    subprocess.run(
        [MOSQUITTO_PASSWD, "-b", "-c", tmp_path / "users", "front", "open sesame"], check=True, capture_output=True
    )
    password = write(tmp_path / "password", "wrong\n")
    with Mosquitto(tmp_path, conf=f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n") as broker:
        login = f'[mqtt]\nurl = "{broker.url}"\nusername = "front"\npassword_file = "{password}"\n'
        refused = one(check(a_door(tmp_path, login)), "broker")
    down = one(check(a_door(tmp_path, login)), "broker")
    assert refused.remedy.startswith("correct username, password_file or certificate in [mqtt]")
    assert down.remedy.startswith("start the broker")
    wrong = one(check(a_door(tmp_path, '[mqtt]\nurl = "mqtt://elsewhere"\n')), "broker")
    assert wrong.remedy.startswith("correct [mqtt] in door.toml")


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("http://127.0.0.1:9/x", "check address, user, password"),
        ("/dev/video97", "plug it in"),
        ("picamera2", "install what is missing"),
        ("none.mp4", "set [camera] source to a camera, or to a file"),
    ],
)
def test_remedies_for_a_missing_camera(tmp_path: Path, source: str, remedy: str) -> None:
    """Each kind of camera has a remedy of its own."""
    path = a_door(tmp_path, "")
    path.write_text(path.read_text().replace(f"{tmp_path}/none.mp4", source))
    assert one(check(path), "camera").remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("level", "remedy"), [(2, "take the cap off the lens"), (120, "uncover the lens"), (255, "turn the lamp")]
)
def test_remedies_for_a_blind_camera(level: int, remedy: str) -> None:
    """A covered lens needs no light."""
    found = one(check_image(PLAIN, scene(lambda pixels: np.full_like(pixels, level))), "exposure")
    assert (found.state, found.remedy.startswith(remedy)) == (State.FAIL, True)


# The command


def edge_check(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "check", "--config", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "80"})


def test_the_command_names_every_obstacle_with_its_remedy_within_80_columns(tmp_path: Path) -> None:
    path = tmp_path / "door.toml"
    path.write_text(
        f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}/none"\ngallery = "{tmp_path}/none"\n'
        f'[camera]\nsource = "{CLIP}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[lock]\npin = 17\n'
    )
    done = edge_check(path, "--json")
    assert done.returncode == 1
    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert [found[what]["state"] for what in ("config", "models")] == ["ok"] * 2
    assert [found[what]["state"] for what in ("gallery", "broker", "state", "lock")] == ["fail"] * 4
    assert all(each["remedy"] for each in found.values() if each["state"] != "ok")
    shown = edge_check(path)
    assert shown.returncode == 1
    words = [word for word in shown.stdout.split() if len(word) > 60]  # a path cannot be broken
    assert all(len(line) <= 80 or any(word in line for word in words) for line in shown.stdout.splitlines())
    assert re.fullmatch(r"\d+ errors, \d+ warnings?", shown.stdout.splitlines()[-1])


def test_a_configuration_that_cannot_be_read_is_the_only_finding(tmp_path: Path) -> None:
    path = write(tmp_path / "door.toml", 'site = "a"\n')
    (finding,) = check(path)
    assert (finding.what, finding.state) == ("config", State.FAIL)


def test_a_terminal_without_the_marks_gets_plain_ones() -> None:
    found = CheckResult("camera", State.FAIL, "it is gone", "plug it in")
    assert row(found, io.TextIOWrapper(io.BytesIO(), "utf-8")).startswith("✗ fail  camera")
    assert row(found, io.TextIOWrapper(io.BytesIO(), "ascii")).startswith("x fail  camera")
    assert summary([found]) == "1 error, 0 warnings"
