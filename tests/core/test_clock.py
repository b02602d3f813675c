"""Clock: synchronisation, also in a sandbox that forbids the system call, and the trusted wall clock."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.manual_clock import ManualClock

from edge.core.clock import SYSTEM_CLOCK, WallClock

# adjtimex and clock_adjtime, which ProtectClock=yes forbids, by machine
FORBIDDEN = {"x86_64": (159, 305), "aarch64": (171, 266)}

ASK_SHUT_IN = """
import ctypes, struct, sys
from pathlib import Path
from edge.core.clock import SystemClock

def forbid(numbers):  # seccomp(2): return EPERM for these system calls, allow all others
    load, equal, leave = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    for number in numbers:
        code += [(equal, 0, 1, number), (leave, 0, 0, 0x00050001)]
    code.append((leave, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0

forbid(map(int, sys.argv[2:]))
print(SystemClock(Path(sys.argv[1])).is_synced())
"""

needs_seccomp = pytest.mark.skipif(platform.machine() not in FORBIDDEN, reason="system calls are not known here")


def asked(folder: Path) -> str:
    """Whether a door in the sandbox finds the clock synchronised, with only the programs of `folder`."""
    numbers = [str(number) for number in FORBIDDEN[platform.machine()]]
    command = [sys.executable, "-c", ASK_SHUT_IN, str(folder / "synchronized"), *numbers]
    environment = {**os.environ, "PATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def systemd_says(folder: Path, answer: str) -> None:
    program = folder / "timedatectl"
    program.write_text(f'#!/bin/sh\n[ "$*" = "show --property=NTPSynchronized --value" ] && echo {answer}\n')
    program.chmod(0o755)


@needs_seccomp
def test_sandboxed_clock_without_any_service(tmp_path: Path) -> None:
    assert asked(tmp_path) == "False"


@needs_seccomp
def test_sandboxed_clock_asks_timesyncd(tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    assert asked(tmp_path) == "True"


@needs_seccomp
@pytest.mark.parametrize(("answer", "synced"), [("yes", "True"), ("no", "False")])
def test_sandboxed_clock_asks_timedatectl(tmp_path: Path, answer: str, synced: str) -> None:
    systemd_says(tmp_path, answer)
    assert asked(tmp_path) == synced


def test_wall_clock_is_unknown_until_synchronised() -> None:
    clock = ManualClock(unix_s=5000, monotonic_s=1000, synced=False)
    wall = WallClock(clock, trusted=False)
    assert wall.wall_minus_monotonic_ns() is None
    clock.synced = True
    assert wall.wall_minus_monotonic_ns() is None  # checked once a second
    clock.advance(1)
    assert wall.wall_minus_monotonic_ns() == 4000 * 10**9


def test_wall_clock_once_set_stays_set() -> None:
    """A network can be down for longer than the kernel reports the clock as synchronised."""
    clock = ManualClock(synced=True)
    wall = WallClock(clock, trusted=False)
    assert wall.wall_minus_monotonic_ns() is not None
    clock.synced = False
    clock.advance(3600)
    assert wall.wall_minus_monotonic_ns() is not None


def test_wall_clock_follows_a_step() -> None:
    clock = ManualClock(unix_s=5000, monotonic_s=1000)
    wall = WallClock(clock, trusted=True)
    assert wall.wall_minus_monotonic_ns() == 4000 * 10**9
    clock.step_wall(60)
    clock.advance(1)
    assert wall.wall_minus_monotonic_ns() == 4060 * 10**9


def test_system_clock_waits_for_event_or_timeout() -> None:
    event = threading.Event()
    assert not SYSTEM_CLOCK.wait(event, 0)
    event.set()
    assert SYSTEM_CLOCK.wait(event, None)
