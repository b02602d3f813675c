"""Simulated time: the clocks of a door advance with its frames, and a listener in another process reads them.

Between two frames they run like real clocks, so that work takes time. When the frames leap, the clocks leap.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path

BEGIN_NS = 3600 * 10**9  # the monotonic clock of a board that has been up for an hour
_LAYOUT = struct.Struct("=Qqqq")  # count of changes (odd during one); simulated, real, wall minus simulated


class SimulatedClock:
    """Implements `edge.core.clock.Clock`; shared between processes through a small file.

    Sockets and waits take real time.

    Args:
        path: path of the file; it is created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._shared = mmap.mmap(file, _LAYOUT.size)
        os.close(file)

    def set(self, simulated_ns: int, wall_minus_simulated_ns: int) -> None:
        """Set both clocks; only one thread of the door's process may call this."""
        (changes, *_) = _LAYOUT.unpack_from(self._shared)
        struct.pack_into("=Q", self._shared, 0, changes + 1)
        _LAYOUT.pack_into(self._shared, 0, changes + 1, simulated_ns, time.monotonic_ns(), wall_minus_simulated_ns)
        struct.pack_into("=Q", self._shared, 0, changes + 2)

    def read(self) -> tuple[int, int]:
        """Monotonic and wall time, nanoseconds."""
        while True:
            changes, simulated_ns, real_ns, offset_ns = _LAYOUT.unpack_from(self._shared)
            (still,) = struct.unpack_from("=Q", self._shared)
            if changes % 2 == 0 and changes == still:
                now_ns = simulated_ns + time.monotonic_ns() - real_ns
                return now_ns, now_ns + offset_ns

    def monotonic_ns(self) -> int:
        return self.read()[0]

    def unix_ns(self) -> int:
        return self.read()[1]

    def is_synced(self) -> bool:
        return True

    def wait(self, waitable: threading.Event | threading.Condition, timeout_s: float | None) -> bool:
        return waitable.wait(timeout_s)
