"""Socket pair that ends a `select` from another thread (self-pipe)."""

from __future__ import annotations

import contextlib
import select
import socket


class WakeupPipe:
    """Ends a `select` from another thread or a signal handler. Holds no descriptor before `open` and after `close`."""

    def __init__(self) -> None:
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        self._pair = socket.socketpair()
        for end in self._pair:
            end.setblocking(False)

    def notify(self) -> None:
        """End the current wait, or the next one."""
        if self._pair is not None:
            with contextlib.suppress(OSError):  # the buffer is full of wake-ups, or the pipe was closed
                self._pair[1].send(b"\0")

    def wait(self, timeout_s: float) -> None:
        """Wait until another thread calls `notify`, or until the timeout."""
        select.select([self], [], [], max(timeout_s, 0.0))
        self.drain()

    def drain(self) -> None:
        """Discard the wake-ups so far."""
        if self._pair is not None:
            with contextlib.suppress(OSError):
                while self._pair[0].recv(4096):
                    pass

    def fileno(self) -> int:
        return -1 if self._pair is None else self._pair[0].fileno()

    def close(self) -> None:
        if self._pair is not None:
            for end in self._pair:
                end.close()
            self._pair = None
