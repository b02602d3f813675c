"""Monotonic clock, wall clock, whether the wall clock is synchronised, and waiting."""

from __future__ import annotations

import ctypes
import subprocess
import threading
import time
from pathlib import Path
from typing import Protocol

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # larger than struct timex on every Linux; all zeros read the state and change nothing
_SYSCALL_DENIED = -1
_TIMESYNC = Path("/run/systemd/timesync/synchronized")  # see systemd-timesyncd.service(8)
_TIMEDATECTL = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_TIMEDATECTL_S = 2.0
_TIMEDATECTL_EVERY_NS = 30_000_000_000
_CHECK_EVERY_NS = 1_000_000_000


class Clock(Protocol):
    """Time source of a door; tests and soak runs use a simulated one."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never decreases."""
        ...

    def unix_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC; may be stepped."""
        ...

    def is_synced(self) -> bool:
        """Whether a time service synchronises the wall clock."""
        ...

    def wait(self, waitable: threading.Event | threading.Condition, timeout_s: float | None) -> bool:
        """Wait until `waitable` is set or notified, or until the timeout; returns False on timeout.

        Args:
            waitable: an event, or a condition whose lock the caller holds.
            timeout_s: longest wait, seconds; None: unlimited.
        """
        ...


class SystemClock:
    """The clocks of this machine; thread-safe."""

    def __init__(self, timesync: Path = _TIMESYNC) -> None:
        self._timesync = timesync  # systemd-timesyncd creates this file once it has set the clock
        self._timedatectl: tuple[int, bool] | None = None  # period of the last answer, and the answer

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        return time.time_ns()

    def is_synced(self) -> bool:
        """Whether the kernel reports a synchronised clock (adjtimex(2)); False if that is not known.

        A sandbox that protects the clock forbids this call; then the answer comes from the time service and systemd.
        """
        try:
            state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
        except (AttributeError, OSError):
            state = _SYSCALL_DENIED
        if state != _SYSCALL_DENIED:
            return state != _TIME_ERROR
        return self._timesync.exists() or self._ask_timedatectl()

    def wait(self, waitable: threading.Event | threading.Condition, timeout_s: float | None) -> bool:
        return waitable.wait(timeout_s)

    def _ask_timedatectl(self) -> bool:
        """Whether timedatectl reports a synchronised clock; runs it at most every 30 s."""
        period = time.monotonic_ns() // _TIMEDATECTL_EVERY_NS
        if self._timedatectl is None or self._timedatectl[0] != period:
            try:
                done = subprocess.run(_TIMEDATECTL, capture_output=True, timeout=_TIMEDATECTL_S, check=False)
                self._timedatectl = (period, done.stdout.strip() == b"yes")
            except (OSError, subprocess.SubprocessError):
                self._timedatectl = (period, False)
        return self._timedatectl[1]


SYSTEM_CLOCK = SystemClock()


class WallClock:
    """Wall clock, available once it can be trusted: from the start, or after a time service has set it.

    Once set, it remains trusted: a crystal drifts by seconds a day, and a network can be down for longer than the
    kernel reports the clock as synchronised (about nine hours).

    Args:
        clock: time source.
        trusted: whether the clock is right from the start, because a battery keeps it.
    """

    def __init__(self, clock: Clock, *, trusted: bool) -> None:
        self.clock = clock
        self._set = trusted
        self._checked_ns: int | None = None
        self._offset_ns: int | None = None

    def wall_minus_monotonic_ns(self) -> int | None:
        """Nanoseconds since 1970 UTC minus monotonic time, updated once a second; None while the clock is not set."""
        now_ns = self.clock.monotonic_ns()
        if self._checked_ns is None or now_ns - self._checked_ns >= _CHECK_EVERY_NS:
            self._checked_ns = now_ns
            self._set = self._set or self.clock.is_synced()
            self._offset_ns = wall_minus_monotonic_ns(self.clock) if self._set else None
        return self._offset_ns


def wall_minus_monotonic_ns(clock: Clock) -> int:
    """Nanoseconds since 1970 UTC minus monotonic time, whether or not the wall clock is set."""
    return clock.unix_ns() - clock.monotonic_ns()
