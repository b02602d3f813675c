"""Lock on a relay, with the mock pins of gpiozero, which fail as real pins do."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin
from support import picamera2_standin
from support.daemon_runs import door_config, empty_scene, listening, records, running, stored_events, visitor_frames
from support.fake_camera import Webcam
from support.mqtt_brokers import config_for, free_port, make_broker, needs_mosquitto, wait_until

from edge.core.config import LockConfig, MqttConfig
from edge.core.errors import ConfigError, LockError
from edge.core.reasons import Reason
from edge.demo.run_demo import CLIP
from edge.events.schema import Event, EventKind, Health, LockState, OpenCommand, PersonRef
from edge.runtime.daemon import Daemon
from edge.runtime.door_lock import Lock, open_relay
from edge.vision.camera_file import VideoFileCamera

PIN = 17
LONG_S = 60.0
NOW = "2026-01-01T00:00:00.000Z"
MESSAGE = OpenCommand(
    v=1, id="0" * 36, seq=1, door="front", person=PersonRef(id="ada", name="Ada"), at=NOW, expires_at=NOW
)


class Witness(MockPin):  # type: ignore[misc]
    """Mock pin that calls a function before it is switched on."""

    call: Callable[[], object] = staticmethod(lambda: None)

    def _set_state(self, value: float) -> None:
        if value:
            Witness.call()
        super()._set_state(value)


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockPin]:
    factory = MockFactory(pin_class=Witness)
    monkeypatch.setattr(Device, "pin_factory", factory)
    monkeypatch.setattr(Witness, "call", staticmethod(lambda: None))
    yield factory.pin(PIN)
    factory.reset()


def lock(missed: list[str], **changes: object) -> Lock:
    config = LockConfig(pin=PIN, **changes)  # type: ignore[arg-type]
    return Lock(config, max_age_s=3.0, on_missed=lambda _, reason, __: missed.append(reason))


def levels(pin: MockPin) -> list[bool]:
    return [state.state for state in pin.states]


@pytest.mark.parametrize("active_high", [True, False])
def test_open_unlocks_for_one_pulse(pin: MockPin, active_high: bool) -> None:
    missed: list[str] = []
    with lock(missed, pulse_s=0.1, active_high=active_high) as one:
        assert pin.state is not active_high
        pin.clear_states()
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: len(pin.states) == 3, "on and off")
        assert levels(pin) == [not active_high, active_high, not active_high]
    assert missed == []


def test_second_open_prolongs_the_first(pin: MockPin) -> None:
    with lock([], pulse_s=0.3) as one:
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: pin.state, "open")
        again_ns = time.monotonic_ns()
        one.open(MESSAGE, again_ns)
        wait_until(lambda: not pin.state, "locked")
        assert time.monotonic_ns() - again_ns >= 0.3e9
        assert levels(pin) == [False, True, False]


def test_pulse_counts_from_the_last_open(pin: MockPin) -> None:
    """Pulses are not added: the relay switches off one pulse after the second open command."""
    other = Device.pin_factory.pin(PIN + 1)
    longer = Lock(LockConfig(pin=PIN + 1, pulse_s=1.5), max_age_s=3.0, on_missed=lambda *_: None)
    with lock([], pulse_s=1.0) as one, longer:
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: pin.state, "open")
        one.open(MESSAGE, time.monotonic_ns())
        longer.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: other.state, "the other is open")
        wait_until(lambda: not other.state, "the other is locked")
        assert not pin.state


def test_open_that_waits_while_the_lock_stops(pin: MockPin) -> None:
    """The door stays locked, and the command is reported."""
    missed: list[str] = []
    closing: list[threading.Thread] = []

    def on_missed(_: OpenCommand, reason: Reason, __: str) -> None:
        missed.append(reason)
        if not closing:  # the thread of the lock is here, so the next command waits
            one.open(MESSAGE, time.monotonic_ns())
            closing.append(threading.Thread(target=one.close))
            closing[0].start()
            wait_until(lambda: in_call(closing[0], "join"), "it is being closed")

    one = Lock(LockConfig(pin=PIN), max_age_s=3.0, on_missed=on_missed)
    one.start()
    one.open(MESSAGE, time.monotonic_ns() - round(3.1e9))
    wait_until(lambda: bool(closing), "the late one is reported")
    closing[0].join()
    assert missed == [Reason.LOCK_TOO_LATE, Reason.DOOR_STOPPING]
    assert True not in levels(pin)


def in_call(thread: threading.Thread, name: str) -> bool:
    """Whether a thread is in a function of this name."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and any(call.name == name for call in traceback.extract_stack(frame))


def test_close_locks_at_once(pin: MockPin) -> None:
    with lock([], pulse_s=LONG_S) as one:
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: one.state is LockState.OPEN, "open")
        assert pin.state
    assert not pin.state
    one.close()


def test_late_open_is_reported_and_opens_nothing(pin: MockPin) -> None:
    missed: list[str] = []
    with lock(missed) as one:
        one.open(MESSAGE, time.monotonic_ns() - round(3.1e9))
        wait_until(lambda: bool(missed), "told")
    assert (True in levels(pin), missed) == (False, [Reason.LOCK_TOO_LATE])


def test_failing_relay_is_reported_and_locked_again(pin: MockPin, caplog: pytest.LogCaptureFixture) -> None:
    missed: list[str] = []
    with lock(missed, pulse_s=0.1) as one:
        pin.function = "input"  # another program has changed the pin, so gpiozero refuses to write
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: bool(missed), "told")
        assert "cannot switch the relay" in one.problem()
        assert "the relay of the lock: " in caplog.text
        assert one.state is LockState.FAILED
        pin.function = "output"
        pin.state = True  # still on
        wait_until(lambda: not pin.state, "locked")
        one.open(MESSAGE, time.monotonic_ns())
        wait_until(lambda: not one.problem(), "it works again")


def test_pin_in_use_or_missing(pin: MockPin) -> None:
    with lock([]), pytest.raises(LockError, match=r"pin 17: not available .*other program"):
        open_relay(LockConfig(pin=PIN))


def test_board_without_pins(tmp_path: Path) -> None:
    """lgpio is not installed, or the board has no GPIO."""
    code = (
        "from edge.runtime.door_lock import open_relay; from edge.core.config import LockConfig; "
        "open_relay(LockConfig(pin=17))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "[lock]" in done.stderr.splitlines()[-1]
    assert "Fallback" not in done.stderr, "no other way to the pins is tried than lgpio"


def at_the_door(tmp_path: Path, webcam: Webcam, mqtt: MqttConfig, **changes: object) -> Daemon:
    config = door_config(tmp_path / "state", webcam.url, mqtt, lock=LockConfig(pin=PIN, pulse_s=0.1))
    return Daemon(msgspec.structs.replace(config, **changes))


@pytest.fixture
def webcam() -> Iterator[Webcam]:
    camera = Webcam(empty_scene())
    camera.plug()
    yield camera
    camera.unplug()


def test_lock_opens_after_the_event_is_stored(
    tmp_path: Path, webcam: Webcam, pin: MockPin, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(Witness, "call", staticmethod(lambda: seen.append(_stored_kinds(tmp_path / "state"))))
    daemon = at_the_door(tmp_path, webcam, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"))
    with running(daemon):
        webcam.show(*visitor_frames())
        wait_until(lambda: True in levels(pin), "the door opens", 30)
        wait_until(lambda: not pin.state, "and locks")
    assert seen[0] == ["started", "door-open"]
    kinds = [event.kind for event in stored_events(tmp_path / "state")]
    assert kinds.count(EventKind.DOOR_OPEN) == levels(pin).count(True)
    assert EventKind.OPEN_EXPIRED not in kinds


def _stored_kinds(state: Path) -> list[str]:
    """Kinds of events on disk while the door has its store open, from a copy as after a power cut."""
    shutil.rmtree(copy := state.with_name("copy"), ignore_errors=True)
    shutil.copytree(state, copy)
    return [event.kind for event in stored_events(copy)]


@needs_mosquitto
def test_door_with_a_lock_publishes_no_open_command(tmp_path: Path, webcam: Webcam, pin: MockPin) -> None:
    with make_broker("mosquitto", tmp_path) as broker, listening(config_for(broker)) as received:
        daemon = at_the_door(tmp_path, webcam, config_for(broker))
        with running(daemon):
            webcam.show(*visitor_frames())
            wait_until(lambda: "door-open" in [event.kind for event in records(received, Event)], "told", 30)
            wait_until(lambda: True in levels(pin), "open")
        wait_until(lambda: "stopped" in [event.kind for event in records(received, Event)], "all events arrive")
    assert records(received, OpenCommand) == []


@needs_mosquitto
def test_lock_state_is_reported_at_once(tmp_path: Path, webcam: Webcam, pin: MockPin) -> None:
    """Otherwise an opening of a few seconds could be missed between two reports."""
    with make_broker("mosquitto", tmp_path) as broker, listening(config_for(broker)) as received:
        seldom = msgspec.structs.replace(config_for(broker), health_every_s=3600.0)
        with running(at_the_door(tmp_path, webcam, seldom, lock=LockConfig(pin=PIN, pulse_s=1.0))):
            webcam.show(*visitor_frames())
            wait_until(
                lambda: [report.lock for report in records(received, Health)][:2] == ["open", "locked"], "both", 30
            )


def test_age_of_an_open_counts_from_its_frame(tmp_path: Path, pin: MockPin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late frame does not open the door, although the decision was quick."""
    sensor = picamera2_standin.Sensor()
    picamera2_standin.install(monkeypatch, sensor)
    mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}", open_max_age_s=0.05)
    daemon = Daemon(door_config(tmp_path, "picamera2", mqtt, lock=LockConfig(pin=PIN, pulse_s=0.1)))
    with running(daemon), VideoFileCamera(CLIP) as clip:
        for number, frame in enumerate(itertools.islice(clip, 45), start=1):
            sensor.show(frame.pixels, age_ns=100_000_000)
            wait_until(lambda number=number: daemon.frames == number, "the frame is processed")  # type: ignore[misc]
    events = [event for event in stored_events(tmp_path) if event.kind in (EventKind.DOOR_OPEN, EventKind.OPEN_EXPIRED)]
    assert [event.kind for event in events[:2]] == [EventKind.DOOR_OPEN, EventKind.OPEN_EXPIRED]
    assert events[1].reason is Reason.LOCK_TOO_LATE
    assert True not in levels(pin)


def test_recording_opens_no_lock(tmp_path: Path, pin: MockPin) -> None:
    config = door_config(tmp_path, CLIP, MqttConfig(), lock=LockConfig(pin=PIN))
    with pytest.raises(ConfigError, match="a recording never opens the door"):
        Daemon(config)
    assert pin.function == "input"


def test_edge_lock_command_locks_and_tries_the_wiring(tmp_path: Path) -> None:
    """This is ExecStopPost of the unit: a pin may keep its state when its process dies."""
    path = tmp_path / "door.toml"
    path.write_text('site = "a"\ndoor = "b"\n[lock]\npin = 17\npulse_s = 0.1\n')
    environment = os.environ | {"GPIOZERO_PIN_FACTORY": "mock"}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge", "lock", "--config", str(path), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert (run().returncode, run().stderr) == (0, "")
    assert "pin 17: open for 0.1 s, locked again" in run("--pulse").stdout
    path.write_text('site = "a"\ndoor = "b"\n')
    assert "no table [lock]" in run("--pulse").stderr
    assert run().returncode == 0  # succeeds without the table, so that the unit needs no change


def test_ctrl_c_during_the_wiring_test_locks(tmp_path: Path) -> None:
    path = tmp_path / "door.toml"
    path.write_text('site = "a"\ndoor = "b"\n[lock]\npin = 17\npulse_s = 60\n')
    command = [sys.executable, "-m", "edge", "lock", "--config", str(path), "--pulse"]
    environment = os.environ | {"GPIOZERO_PIN_FACTORY": "mock"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "opening" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "locked again" in process.stdout.read()
        assert process.wait(10) == 130
