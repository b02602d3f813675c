"""A clock that only the test moves."""

from __future__ import annotations

import threading

NS = 1_000_000_000


class ManualClock:
    """Implements `edge.core.clock.Clock` without real time; a wait returns immediately and adds its timeout.

    Attributes:
        synced: what `is_synced` returns.
    """

    def __init__(self, *, unix_s: float = 1_900_000_000, monotonic_s: float = 1000, synced: bool = True) -> None:
        self.synced = synced
        self._monotonic_ns = round(monotonic_s * NS)
        self._unix_ns = round(unix_s * NS)

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._monotonic_ns += round(seconds * NS)
        self._unix_ns += round(seconds * NS)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._unix_ns += round(seconds * NS)

    def set_wall(self, unix_s: float) -> None:
        """Set the wall clock."""
        self._unix_ns = round(unix_s * NS)

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def unix_ns(self) -> int:
        return self._unix_ns

    def is_synced(self) -> bool:
        return self.synced

    def wait(self, waitable: threading.Event | threading.Condition, timeout_s: float | None) -> bool:
        """Return whether `waitable` is set; a timeout passes in simulated time."""
        if waitable.wait(None if timeout_s is None else 0):
            return True
        self.advance(timeout_s or 0)
        return False
