"""A text stream that leads to a pseudo-terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import struct
import termios


class PtyStream(io.TextIOWrapper):
    """Writes to a pseudo-terminal of a given width; at most 4 kB, the buffer of the terminal."""

    def __init__(self, columns: int) -> None:
        self._reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        super().__init__(io.FileIO(writer, "w"), encoding="utf-8", write_through=True)

    def read_terminal(self) -> str:
        """Return everything that was written since the last call."""
        self.flush()
        text = b""
        while select.select([self._reader], [], [], 0)[0]:
            text += os.read(self._reader, 4096)
        return text.decode()

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._reader)
