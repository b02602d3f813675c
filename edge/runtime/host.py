"""What the board says of itself: clock, temperature, memory, and the service manager it reports to."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from functools import lru_cache
from pathlib import Path

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # larger than struct timex on every Linux; all zero asks and changes nothing
_SYSCALL_DENIED = -1
_TIMESYNC = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd.service(8) makes it
_TIMEDATECTL = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_ASK_SYSTEMD_S = 2.0
_ASK_SYSTEMD_NS = 30_000_000_000
_ASK_NS = 1_000_000_000
_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")


def clock_synced() -> bool:
    """Whether a time service keeps the clock, as the kernel knows it (adjtimex(2)); False where nobody can tell.

    A sandbox that protects the clock forbids even this question; then the time service and systemd are asked.
    """
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (AttributeError, OSError):
        state = _SYSCALL_DENIED
    if state != _SYSCALL_DENIED:
        return state != _TIME_ERROR
    return _TIMESYNC.exists() or _timedatectl(time.monotonic_ns() // _ASK_SYSTEMD_NS)


@lru_cache(maxsize=1)
def _timedatectl(_period: int) -> bool:
    """What systemd says of the clock, asked once in a period."""
    try:
        done = subprocess.run(_TIMEDATECTL, capture_output=True, timeout=_ASK_SYSTEMD_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == b"yes"


class WallClock:
    """The wall clock, as far as it can be trusted: from the moment when a time service has set it, or from the start.

    Once set it counts as set: a crystal loses seconds a day, while a network may be away for longer than the kernel
    goes on calling the clock synchronised (about nine hours).
    """

    def __init__(self, *, trusted: bool) -> None:
        """
        Args:
            trusted: the clock is right from the start, as a battery keeps it.
        """
        self._set = trusted
        self._asked_ns = -_ASK_NS
        self._offset_ns: int | None = None

    def wall_minus_monotonic_ns(self) -> int | None:
        """Nanoseconds since 1970 UTC minus monotonic time, looked up once a second; None while it is not set."""
        now_ns = time.monotonic_ns()
        if now_ns - self._asked_ns >= _ASK_NS:
            self._asked_ns = now_ns
            self._set = self._set or clock_synced()
            self._offset_ns = time.time_ns() - time.monotonic_ns() if self._set else None
        return self._offset_ns


def temperature_c() -> float | None:
    """The processor's temperature, or None where there is no sensor."""
    try:
        return int(_THERMAL.read_text()) / 1000
    except (OSError, ValueError):
        return None


def memory_mb(process: int | str = "self") -> tuple[float, float]:
    """Resident memory of a process, by its id, and its highest so far, in units of 10^6 bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    now, peak = (int(fields[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return now, peak


class ServiceManager:
    """systemd's notification socket (sd_notify(3)); silent where there is none."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def notify(self, state: str) -> None:
        """Send one assignment or several, such as "READY=1" or "WATCHDOG=1"; never fails the caller."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(state.encode(), address)
            except OSError:
                return
