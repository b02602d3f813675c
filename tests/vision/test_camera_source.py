"""Camera sources: how each is opened, and that no password reaches logs, events or errors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from support.daemon_runs import door_config, stored_events

from edge.core.config import CameraConfig, MqttConfig, ReleaseConfig
from edge.core.errors import CameraError, ConfigError
from edge.demo.run_demo import CLIP
from edge.diagnostics.host_checks import check_permissions
from edge.diagnostics.report import State
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.runtime.camera_supervisor import CameraSupervisor
from edge.runtime.daemon import Daemon
from edge.vision.camera import is_recorded, open_camera, redact_url

DEAD = "127.0.0.1:9"
BROKER_DOWN = MqttConfig(url="mqtt://127.0.0.1:1")
SECRET_FORMS = [
    "rtsp://admin:S3cr3t@cam/stream",
    "rtsp://admin:pa@S3cr3t@cam/stream",
    "rtsp://admin:pa/S3cr3t@cam/stream",
    "rtsp://admin:S3cr3t/pa@cam/stream",
    "rtsp://admin:12345/S3cr3t@cam/stream",
    "rtsp://S3cr3t/x@cam/stream",
    "rtsp://S3cr3t?x@cam/stream",
    "rtsp://S3cr3t#x@cam/stream",
    "rtsp://S3cr3t\\x@cam/stream",
    "rtsp://admin:S3cr3t/pa%40cam/stream",
    "rtsp://admin%3AS3cr3t%40cam/stream",
    "rtsp://admin:S3cr3t",
    "RTSP://admin:S3cr3t@cam/stream",
    "rtsp://cam;user=admin;password=S3cr3t",
    "rtsp://cam:554/user=admin&password=S3cr3t&channel=1&stream=0.sdp",
    f"http://{DEAD}/video.mjpg?user=admin&password=S3cr3t",
    f"http://{DEAD}/videostream.cgi?user=admin&pwd=S3cr3t",
    f"http://admin:S3cr3t@{DEAD}/video.mjpg",
    f"http://{DEAD}/S3cr3t",
    f"http://{DEAD}/#S3cr3t",
    "https://[::1]:443/?token=S3cr3t",
    "rtmp://admin:S3cr3t@cam/stream",
    "rtsp:/admin:S3cr3t@cam/stream",
    " rtsp://admin:S3cr3t@cam/stream",
    "admin:S3cr3t@cam/stream",
    "cam/user=admin&password=S3cr3t",
    "picamera2:S3cr3t",
]


@pytest.mark.parametrize("source", SECRET_FORMS)
def test_labels_without_any_password(source: str) -> None:
    """The label is at most scheme, host and port, for every form of a password."""
    assert "S3cr3t" not in redact_url(source)
    assert "12345" not in redact_url(source)


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("picamera2", "picamera2"),
        ("picamera2:1", "picamera2:1"),
        ("/dev/v4l/by-id/usb-cam-index0", "/dev/v4l/by-id/usb-cam-index0"),
        ("rtsp://cam/stream", "rtsp://cam"),
        ("RTSP://user:x@cam.local:554/Streaming/Channels/101", "rtsp://cam.local:554"),
        ("rtsp://user:a@b@cam:554/x", "rtsp://cam:554"),
        ("http://user:x@[fe80::1]:8080/?a=b", "http://[fe80::1]:8080"),
        ("rtsp://a/b@c", "rtsp://…"),
        ("clips/front door.mp4", "clips/front door.mp4"),
    ],
)
def test_labels_that_still_say_which_camera(source: str, label: str) -> None:
    """Host and port are shown if no part of a login can be mistaken for them."""
    assert redact_url(source) == label


def test_clip_with_an_address_sign_in_its_name(tmp_path: Path) -> None:
    """A file that exists is shown by its name, and is a recording."""
    clip = tmp_path / "front@12:30.mp4"
    clip.write_bytes(CLIP.read_bytes())
    assert redact_url(str(clip)) == str(clip)
    assert is_recorded(str(clip))


@pytest.mark.parametrize("source", ["rtmp://admin:S3cr3t@cam/x", "admin:S3cr3t@cam/x", "~nobody-here/a:S3cr3t@cam"])
def test_misspelt_address_refused_without_its_password(source: str) -> None:
    """An address of an unknown kind is an error that lists the kinds of source, and does not quote the address."""
    with pytest.raises(CameraError, match="a source is picamera2") as caught:
        open_camera(CameraConfig(source=source))
    assert "S3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        f"http://{DEAD}/video.mjpg?user=admin&password=S3cr3t",
        f"http://admin:S3cr3t@{DEAD}/x",
        f"http://a:pa/S3cr3t@{DEAD}/x",
    ],
)
def test_camera_password_absent_from_events_and_log(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole door whose camera cannot be reached logs and stores its label only."""
    caplog.set_level(logging.DEBUG)
    stop = threading.Event()
    stop.set()
    Daemon(door_config(tmp_path, source, BROKER_DOWN)).run(stop)
    events = stored_events(tmp_path)
    assert [event.kind for event in events] == ["started", "camera-lost", "stopped"]
    assert "S3cr3t" not in repr(events)
    assert "S3cr3t" not in caplog.text


def test_camera_password_absent_from_health_problems(tmp_path: Path) -> None:
    """The report of a lost camera has scheme, host and port only."""
    told: list[str] = []
    config = door_config(tmp_path, f"http://{DEAD}/x?password=S3cr3t", BROKER_DOWN)
    eye = CameraSupervisor(config, lambda *said: told.append(" ".join(said)))
    assert eye.open() is None
    assert eye.problem() == f"camera http://{DEAD} is lost"
    assert len(told) == 1
    assert "S3cr3t" not in told[0]


def test_camera_password_absent_from_edge_check(tmp_path: Path) -> None:
    """Neither the text nor the JSON of `edge check` contains it, also if the file cannot be used."""
    path = tmp_path / "door.toml"
    plain = f'site = "s"\ndoor = "d"\nstate_folder = "{tmp_path}"\ngallery = "{tmp_path}/none"\n[camera]\n'
    mqtt = '[mqtt]\nurl = "mqtt://127.0.0.1:1"\n'
    path.write_text(f'{plain}source = "http://{DEAD}/x?password=S3cr3t"\n{mqtt}')
    path.chmod(0o644)
    done = run_check(path, "--json")
    found = {each["what"]: each for each in json.loads(done)}
    assert found["camera"]["detail"].startswith(f"http://{DEAD}: no video stream")
    assert "camera.source" in found["privacy"]["detail"]
    assert "S3cr3t" not in done
    path.write_text(f'{plain}source = ["rtsp://admin:S3cr3t@cam"]\n')
    assert "S3cr3t" not in run_check(path)


def run_check(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "edge", "check", "--config", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "url",
    ["mqtt://u:S3cr3t@h", "mqtt://u:pa/S3cr3t@h", "mqtt://u:S3cr3t", "mqtt://h?password=S3cr3t", "http://S3cr3t@h"],
)
def test_broker_password_absent_from_errors(url: str) -> None:
    """A login within `[mqtt] url` is refused, in whatever form, without being repeated."""
    with pytest.raises(ConfigError) as caught:
        resolve_endpoint(MqttConfig(url=url))
    assert "S3cr3t" not in repr(caught.value)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"camera": CameraConfig(source="rtsp://u:S3cr3t@camera/stream")}, "camera.source"),
        ({"camera": CameraConfig(source="http://camera/stream?pwd=S3cr3t")}, "camera.source"),
        ({"camera": CameraConfig(source="rtsp://camera/user=u&password=S3cr3t")}, "camera.source"),
        ({"release": ReleaseConfig(source="https://u:S3cr3t@host/repo")}, "release.source"),
        ({"mqtt": MqttConfig(url="mqtts://u:S3cr3t@broker")}, "mqtt.url"),
    ],
)
def test_world_readable_door_toml_with_a_secret(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    """`edge check` names the key, not the value, and a file without secrets may be public."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    public = door_config(state, "rtsp://camera/stream", BROKER_DOWN, gallery=str(state / "g"))
    path = tmp_path / "door.toml"
    path.touch()
    path.chmod(0o644)
    assert check_permissions(public, path).state is State.OK
    found = check_permissions(msgspec.structs.replace(public, **changes), path)
    assert (found.state, found.remedy) == (State.FAIL, f"chmod o= {path}")
    assert key in found.detail
    assert "S3cr3t" not in found.detail
    state.chmod(0o755)
    both = check_permissions(msgspec.structs.replace(public, **changes), path)
    assert both.remedy == f"chmod go= {state}; chmod o= {path}"
    state.chmod(0o700)
    path.chmod(0o640)
    assert check_permissions(msgspec.structs.replace(public, **changes), path).state is State.OK
