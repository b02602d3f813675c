"""Client of systemd's notification socket (sd_notify(3)) and watchdog."""

from __future__ import annotations

import contextlib
import os
import socket

from edge.core.clock import Clock

_WATCHDOG_PERIOD_NS = 1_000_000_000  # shortest interval between two messages to the watchdog


class SystemdNotifier:
    """Reports the state of this process to systemd; does nothing without a notification socket."""

    def __init__(self, clock: Clock) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._last_watchdog_ns = 0

    def feed_watchdog(self) -> None:
        """Reset the watchdog timer of systemd. Cheap; call it for every frame."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._last_watchdog_ns >= _WATCHDOG_PERIOD_NS:
            self._last_watchdog_ns = now_ns
            self.notify("WATCHDOG=1")

    def notify(self, state: str) -> None:
        """Send one or several assignments, such as "READY=1"; never raises."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
            channel.sendto(state.encode(), address)
