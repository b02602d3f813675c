"""`edge setup` on a terminal and by options."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from support.broker_site import MOSQUITTO_PASSWD
from support.fake_camera import Webcam, jpeg
from support.mqtt_brokers import Mosquitto, free_port, make_broker, needs_mosquitto

from edge.core.config import DoorConfig, LivenessConfig, LockConfig, read_config
from edge.core.errors import ConfigError
from edge.demo.run_demo import CLIP
from edge.diagnostics.setup_wizard import to_toml, with_value
from edge.vision.camera_file import VideoFileCamera

DEADLINE_S = 60.0


BROKER_DOWN = "mqtt://127.0.0.1:1"


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    with VideoFileCamera(CLIP) as clip:
        pictures = [jpeg(frame.pixels) for frame, _ in zip(clip, range(20), strict=False)]
    webcam = Webcam(pictures)
    webcam.plug()
    yield webcam.url
    webcam.unplug()


def setup(folder: Path, *options: str, words: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "setup", *options]
    return subprocess.run(command, cwd=folder, input=words, capture_output=True, text=True, check=False)


class Terminal:
    """`edge setup` on a pseudo-terminal."""

    def __init__(self, folder: Path, *options: str) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "setup", *options],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
        os.close(theirs)

    def read_until(self, text: str) -> None:
        """Read until a text appears after the last answer."""
        end = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < end, f"no '{text}' in: {self.seen}"
            if select.select([self._ours], [], [], 1.0)[0]:
                try:
                    self.seen += os.read(self._ours, 4096).decode()
                except OSError as error:  # on Linux: the other end is closed
                    raise AssertionError(f"no '{text}' in: {self.seen}") from error

    def answer(self, question: str, words: str) -> None:
        self.read_until(question)
        self.seen = ""
        os.write(self._ours, f"{words}\n".encode())

    def ended(self) -> int:
        """Read to the end; returns the exit code."""
        with contextlib.suppress(OSError):
            while select.select([self._ours], [], [], DEADLINE_S)[0]:
                self.seen += os.read(self._ours, 4096).decode()
        return self._process.wait(DEADLINE_S)

    def hang_up(self) -> None:
        """Press Ctrl-D."""
        os.write(self._ours, b"\x04")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@needs_mosquitto
def test_first_run_on_a_terminal_writes_door_toml(tmp_path: Path, camera: str) -> None:
    with make_broker("mosquitto", tmp_path) as broker, Terminal(tmp_path) as terminal:
        terminal.answer("Site", "")
        terminal.answer("Door", "back door")
        terminal.read_until("'back door' is not a valid name for a door: use at most 64 letters, digits")
        terminal.answer("[front]: ", "back")
        terminal.answer("Camera", camera)
        terminal.read_until("640x480 px")
        terminal.answer("Folder for events", "")
        terminal.answer("Gallery", "")
        terminal.answer("Broker", f"mqtt://127.0.0.1:{broker.port}")
        terminal.read_until("connected, MQTT 5")
        terminal.answer("GPIO number", "99")
        terminal.read_until("lock.pin = 99: allowed 0 to 27")
        terminal.answer("[none]: ", "17")
        terminal.answer("Photo detection", "")
        assert terminal.ended() == 0
        assert "check --config door.toml" in terminal.seen
    config = read_config(tmp_path / "door.toml")
    assert (config.site, config.door, config.camera.source) == ("home", "back", camera)
    assert (config.lock, config.liveness) == (LockConfig(pin=17), LivenessConfig(mode="passive"))
    assert config.state_folder == str(tmp_path / "door-state")
    assert (tmp_path / "door-state").stat().st_mode & 0o777 == 0o700


def test_unreachable_camera_is_kept_only_after_confirmation(tmp_path: Path) -> None:
    with Terminal(tmp_path, "--site", "s", "--door", "d", "--lock-pin", "none") as terminal:
        terminal.answer("Camera (number or source): ", "")
        terminal.answer("camera.source: must not be empty", "/dev/video99")
        terminal.answer("/dev/video99: no such camera", "n")
        terminal.answer("enter another one", "/dev/video99")
        terminal.answer("Use it anyway?", "y")
        terminal.answer("Folder for events", "not/whole/../state")
        terminal.answer("Gallery", "")
        terminal.answer("Broker", "mqtt://broker.example")
        terminal.answer("Allow everybody on that network", "n")
        terminal.answer("use mqtts://", BROKER_DOWN)
        terminal.answer("Use it anyway?", "y")
        terminal.answer("Photo detection", "")
        assert terminal.ended() == 0
    config = read_config(tmp_path / "door.toml")
    assert (config.camera.source, config.mqtt.url) == ("/dev/video99", BROKER_DOWN)
    assert config.state_folder == str(tmp_path / "not/state")
    assert config.gallery == str(tmp_path / "not/state/gallery.safetensors")


def test_broken_picamera2_is_not_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """picamera2 is installed but cannot be imported, as in a virtual environment of another Python."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "picamera2.py").write_text("raise ImportError('no libcamera')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/modules:{os.environ.get('PYTHONPATH', '')}")
    with Terminal(tmp_path, "--site", "s", "--door", "d") as terminal:
        terminal.answer("Camera (number or source): ", "")
        terminal.read_until("camera.source: must not be empty")


def test_relative_paths_are_written_as_absolute(tmp_path: Path) -> None:
    """The service starts in another folder; a credential is not a path."""
    (tmp_path / "secret").write_text("open sesame\n")
    options = ["--yes", "--camera", str(CLIP), "--broker", BROKER_DOWN, "--username", "front"]
    assert setup(tmp_path, *options, "--state", "here", "--password-file", "secret").returncode == 0
    config = read_config(tmp_path / "door.toml")
    assert config.state_folder == f"{tmp_path}/here"
    assert config.gallery == f"{tmp_path}/here/gallery.safetensors"
    assert config.mqtt.password_file == f"{tmp_path}/secret"
    done = setup(tmp_path, *options, "--out", "other.toml", "--password-file", "credential:mqtt-password")
    assert "no credentials were passed for credential:mqtt-password" in done.stderr


@needs_mosquitto
def test_broker_login_is_asked_for(tmp_path: Path) -> None:
    subprocess.run(
        [MOSQUITTO_PASSWD, "-b", "-c", tmp_path / "users", "front", "open sesame"], check=True, capture_output=True
    )
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    conf = f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n"
    with Mosquitto(tmp_path, conf=conf) as broker, Terminal(tmp_path, "--camera", str(CLIP)) as terminal:
        terminal.answer("Site", "")
        terminal.answer("Door", "")
        terminal.answer("Folder for events", "")
        terminal.answer("Gallery", "")
        terminal.answer("Broker", broker.url)
        terminal.answer("refuses a login without a user name", "y")
        terminal.answer("User name [front]", "")
        terminal.answer("File with the password", str(secret))
        terminal.read_until("connected")
        terminal.answer("GPIO", "")
        terminal.answer("Photo detection", "")
        assert terminal.ended() == 0
    config = read_config(tmp_path / "door.toml")
    assert (config.mqtt.username, config.mqtt.password_file) == ("front", str(secret))
    assert "open sesame" not in (tmp_path / "door.toml").read_text()


def test_end_of_input_writes_nothing(tmp_path: Path) -> None:
    with Terminal(tmp_path, "--site", "s") as terminal:
        terminal.read_until("Door")
        terminal.hang_up()
        assert terminal.ended() == 2
        assert "standard input ended before all questions" in terminal.seen
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_replaced_only_after_confirmation(tmp_path: Path) -> None:
    (tmp_path / "door.toml").write_text("mine")
    with Terminal(tmp_path) as terminal:
        terminal.answer("exists already", "")
        assert terminal.ended() == 2
        assert "not changed" in terminal.seen
    done = setup(tmp_path, "--yes")
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    assert (tmp_path / "door.toml").read_text() == "mine"


@pytest.mark.parametrize("question", ["Site", "Gallery"])
def test_ctrl_c_writes_nothing(tmp_path: Path, question: str) -> None:
    with Terminal(tmp_path, "--door", "d", "--camera", str(CLIP)) as terminal:
        if question != "Site":
            terminal.answer("Site", "")
            terminal.answer("Folder for events", "")
        terminal.read_until(question)
        terminal.interrupt()
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.seen
    assert list(tmp_path.iterdir()) == []


def test_missing_terminal_is_a_clear_error(tmp_path: Path) -> None:
    done = setup(tmp_path, words="home\nfront\n")
    assert done.returncode == 2
    assert done.stderr == (
        "error: edge setup asks questions, but standard input is not a terminal; use --yes and options\n"
    )


def test_options_alone_write_a_commented_file(tmp_path: Path, camera: str) -> None:
    done = setup(
        tmp_path, "--yes", "--site", "s", "--door", "d", "--camera", camera, "--broker", BROKER_DOWN, "--lock-pin", "17"
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "door.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [line.split("  #")[0].rstrip() for line in path.read_text().splitlines()[1:]] == [
        'site = "s"',
        'door = "d"',
        f'state_folder = "{tmp_path}/door-state"',
        f'gallery = "{tmp_path}/door-state/gallery.safetensors"',
        "",
        "[camera]",
        f'source = "{camera}"',
        "",
        "[liveness]",
        'mode = "passive"',
        "",
        "[mqtt]",
        f'url = "{BROKER_DOWN}"',
        "",
        "[lock]",
        "pin = 17",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--site", "../x"], "'../x' is not a valid name for a site"),
        (["--door", "repo"], "'repo' is reserved"),
        (["--camera", str(CLIP), "--lock-pin", "17"], "a recording never opens the door"),
        (["--camera", str(CLIP), "--lock-pin", "seventeen"], "'seventeen' is not a GPIO number"),
        (["--camera", str(CLIP), "--broker", "http://x"], "mqtt.url: "),
        (["--camera", str(CLIP), "--broker", "mqtt://elsewhere"], "is not encrypted"),
        (["--camera", str(CLIP), "--broker", BROKER_DOWN, "--liveness", "on"], "liveness.mode: "),
        (["--out", "no/such/door.toml"], "not writable for this user"),
        (["--site", "a\x07b"], "contains a control character"),
    ],
)
def test_invalid_answers_are_one_line_errors(tmp_path: Path, options: list[str], told: str) -> None:
    done = setup(tmp_path, "--yes", *options)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_private_file_for_a_camera_with_a_password(tmp_path: Path) -> None:
    source = f"http://user:secret@127.0.0.1:{free_port()}/stream"
    done = setup(tmp_path, "--yes", "--camera", source, "--broker", BROKER_DOWN)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "door.toml").stat().st_mode & 0o777 == 0o600
    assert "secret" not in done.stderr


def test_written_configuration_is_read_back(tmp_path: Path) -> None:
    """Also quotes, backslashes and umlauts; defaults are not written."""
    config = DoorConfig(site="s", door="d")
    for key, value in (("gallery", 'C:\\"ü".safetensors'), ("mqtt.insecure", True), ("camera.fps", 12.5)):
        config = with_value(config, key, value)
    path = tmp_path / "door.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert read_config(path) == config
    assert "width_px" not in path.read_text()
    with pytest.raises(ConfigError, match="camera"):
        with_value(config, "camera.fps", 0)
