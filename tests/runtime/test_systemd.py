"""The service: sandbox, watchdog and clock changes."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from support.daemon_runs import empty_scene, stored_events, visitor_frames
from support.fake_camera import Webcam
from support.mqtt_brokers import config_for, free_port, make_broker, wait_until
from support.systemd_unit import Service

from edge.demo.run_demo import GALLERY
from edge.events.schema import OpenCommand
from edge.events.topics import Topics
from edge.mqtt.subscriber import Subscriber

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "edge.service"
LOCK = ROOT / "systemd" / "edge.service.d" / "lock.conf"
WATCHDOG_S = 2.5  # the door resets it once a second
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analysed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


# The unit


@needs_systemd
def test_exposure_of_the_service_is_at_most_1_5() -> None:
    done = analysed("security", "--offline=true", "--no-pager", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_lock_drop_in_adds_only_the_pins(tmp_path: Path) -> None:
    """It adds no other access, and locks the pin after every stop."""
    unit = tmp_path / "edge.service"
    shutil.copy(UNIT, unit)
    shutil.copytree(LOCK.parent, tmp_path / LOCK.parent.name)
    assert "gpio" not in UNIT.read_text().lower()
    done = analysed("security", "--offline=true", "--no-pager", "--threshold=15", unit)
    assert done.returncode == 0, done.stdout
    assert "SupplementaryGroups" in done.stdout
    assert re.search(r"^ExecStopPost=\S+/edge lock --config \S+$", LOCK.read_text(), re.M)
    for path in (unit, tmp_path / LOCK.parent.name / LOCK.name):
        path.write_text(path.read_text().replace("/opt/threshold/venv/bin/edge", sys.executable))
    done = analysed("verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_commented_lines_of_the_unit_are_valid(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/threshold/venv/bin/edge", sys.executable)
    unit = tmp_path / "edge.service"
    unit.write_text(re.sub(r"^#(?=[A-Z]\w+=)", "", text, flags=re.MULTILINE))
    done = analysed("verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    assert unit.read_text().count("\nLoadCredential=") >= 2


@needs_systemd
def test_sandbox_allows_the_journal() -> None:
    """A datagram to its socket, and a sealed memory file for large entries (edge/runtime/journal.py)."""
    unit = UNIT.read_text()
    assert re.search(r"^RestrictAddressFamilies=.*\bAF_UNIX\b", unit, re.M)
    assert re.findall(r"^SystemCallFilter=(.*)$", unit, re.M) == ["@system-service", "~@privileged @resources"]
    allowed, refused = (calls(*groups) for groups in (("@system-service",), ("@privileged", "@resources")))
    assert {"sendto", "sendmsg", "memfd_create", "fcntl"} <= allowed - refused


def calls(*groups: str) -> set[str]:
    """System calls of these groups and their subgroups."""
    words = {line.strip() for line in analysed("syscall-filter", *groups).stdout.splitlines()} - set(groups)
    inner = {word for word in words if word.startswith("@")}
    return words | (calls(*inner) if inner else set())


def test_unit_documents_every_exit_code() -> None:
    """0, 1 and 2; only permanent errors prevent a restart."""
    text = UNIT.read_text()
    assert re.findall(r"^#   (\d) ", text, flags=re.MULTILINE) == ["0", "1", "2"]
    assert "RestartPreventExitStatus=2\n" in text


@pytest.mark.slow
def test_door_in_its_sandbox_under_a_real_systemd() -> None:
    """With network camera, broker, credential and watchdog; needs root and a kernel that can start systemd."""
    done = subprocess.run(
        [ROOT / "tests" / "systemd" / "run.sh", sys.executable], capture_output=True, text=True, check=False
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def test_start_waits_for_no_network_and_no_time_server() -> None:
    """No target of the unit waits for them, because such a wait may never end."""
    after = re.findall(r"^(?:After|Wants|Requires|BindsTo)=(.*)$", UNIT.read_text(), flags=re.MULTILINE)
    assert after == ["network.target time-set.target"]


# The watchdog


def stop_all(pid: int) -> None:
    """The whole process hangs."""
    os.kill(pid, signal.SIGSTOP)


def stop_the_pipeline(pid: int) -> None:
    """Only the thread of the pipeline hangs; camera and publisher continue."""
    seize, interrupt = 0x4206, 0x4207
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(seize, pid, None, None) or libc.ptrace(interrupt, pid, None, None):
        pytest.skip(f"no thread may be stopped here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(pid, 0)  # wait until it has stopped; its end is awaited later


def written(folder: Path, source: str | Path, port: int = 0) -> Path:
    path = folder / "door.toml"
    path.write_text(f"""
site = "test"
door = "front"
state_folder = "{folder}"
gallery = "{GALLERY}"
[camera]
source = "{source}"
lost_after_s = 1.0
[recognition]
sample_every_s = 0.0
[mqtt]
url = "mqtt://127.0.0.1:{port or free_port()}"
""")
    return path


@pytest.fixture
def webcam() -> Webcam:
    """Shows an empty scene."""
    return Webcam(empty_scene())


@pytest.mark.parametrize("hang", [stop_all, stop_the_pipeline])
def test_hanging_door_is_restarted_and_loses_no_event(
    tmp_path: Path, webcam: Webcam, hang: Callable[[int], None]
) -> None:
    webcam.plug()
    with Service(tmp_path, written(tmp_path, webcam.url)) as service:
        webcam.show(*visitor_frames())
        wait_until(lambda: "door-open" in service.log.read_text(), "the door opens", 20)
        webcam.show(*empty_scene())
        service.hear("WATCHDOG=1")
        hang(service.pid)
        service.guard(WATCHDOG_S)
        service.hear("WATCHDOG=1")
        assert service.starts == 2
        assert service.stop() == 0
    webcam.unplug()
    events = stored_events(tmp_path)
    assert [event.kind for event in events] == ["started", "door-open", "started", "stopped"]
    assert all(before.seq < after.seq for before, after in itertools.pairwise(events))


def test_working_door_is_never_restarted(tmp_path: Path, webcam: Webcam) -> None:
    """Without a hang the same watchdog is reset all the time."""
    webcam.plug()
    with Service(tmp_path, written(tmp_path, webcam.url)) as service:
        for _ in range(4):
            service.hear("WATCHDOG=1", WATCHDOG_S)
    webcam.unplug()


# The clock

_FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
needs_faketime = pytest.mark.skipif(_FAKETIME is None, reason="faketime is not installed")


@needs_faketime
@pytest.mark.parametrize("hours", [2, -2])
def test_times_are_right_when_the_wall_clock_is_set(tmp_path: Path, webcam: Webcam, hours: int) -> None:
    """The clock is set before a visit: the open command has the new time and the usual expiry."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with make_broker("mosquitto", tmp_path) as broker, Subscriber(config_for(broker), Topics("+", "+")) as received:
        webcam.plug()
        path = written(tmp_path, webcam.url, port=broker.port)
        with Service(tmp_path, path, environment) as service:
            service.hear("WATCHDOG=1")
            offset.write_text(f"{hours * 3600:+d}")
            wait_until(lambda: "clock-stepped" in service.log.read_text(), "the step is noticed")
            webcam.show(*visitor_frames())
            opening = next(m.record for m in received.messages(timeout_s=20) if isinstance(m.record, OpenCommand))
            assert service.stop() == 0
        webcam.unplug()
    started, stepped, opened, stopped = stored_events(tmp_path)
    assert [event.kind for event in (stepped, opened, stopped)] == ["clock-stepped", "door-open", "stopped"]
    for event in (stepped, opened, stopped):
        assert seconds(event.at) - seconds(started.at) == pytest.approx(hours * 3600, abs=60)
    assert 0 <= seconds(stopped.at) - seconds(opened.at) < 30  # from one clock, although it was set back
    assert opening.at == opened.at
    assert seconds(opening.expires_at) - seconds(opening.at) == pytest.approx(3.0, abs=0.002)


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
