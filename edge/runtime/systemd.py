"""systemd's notification socket (sd_notify(3))."""

from __future__ import annotations

import os
import socket


class SystemdNotifier:
    """Reports the state of this process to systemd; does nothing where there is no notification socket."""

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
