"""Simulated time: a door's clocks run with the frames, and a listener in another process reads the same clocks.

Between two frames they go on as real ones do, so that what takes time takes time. Where the frames leap, they leap.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
import time
from pathlib import Path

import edge.core.clock
import edge.outbox.outbox
import edge.runtime.daemon
import edge.runtime.event_recorder
from edge.mqtt.publisher import Publisher
from soaking.seams import replace

BEGIN_NS = 3600 * 10**9  # the monotonic clock of a board that has been up for an hour
WALL_NS = 1_893_456_000 * 10**9  # 2030-01-01 UTC
BACKOFF_S = (0.02, 0.5)  # between two attempts to connect, in real seconds, which are a minute of simulated ones
_LAYOUT = struct.Struct("=Qqqq")  # count of changes, odd while one is made; simulated, real, wall clock minus simulated


class Clock:
    """Simulated monotonic and wall time, shared between processes through a small file.

    Args:
        path: of the file; made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._shared = mmap.mmap(file, _LAYOUT.size)
        os.close(file)

    def set(self, simulated_ns: int, offset_ns: int) -> None:
        """Let it be this time now; only the door's process may say so, and only one of its threads."""
        (changes, *_) = _LAYOUT.unpack_from(self._shared)
        struct.pack_into("=Q", self._shared, 0, changes + 1)
        _LAYOUT.pack_into(self._shared, 0, changes + 1, simulated_ns, time.monotonic_ns(), offset_ns)
        struct.pack_into("=Q", self._shared, 0, changes + 2)

    def read(self) -> tuple[int, int]:
        """Monotonic and wall time, nanoseconds."""
        while True:
            changes, simulated_ns, real_ns, offset_ns = _LAYOUT.unpack_from(self._shared)
            (still,) = struct.unpack_from("=Q", self._shared)
            if changes % 2 == 0 and changes == still:
                now_ns = simulated_ns + time.monotonic_ns() - real_ns
                return now_ns, now_ns + offset_ns

    # What the door's modules ask of the module `time`.

    def monotonic_ns(self) -> int:
        return self.read()[0]

    def monotonic(self) -> float:
        return self.read()[0] / 1e9

    def time_ns(self) -> int:
        return self.read()[1]

    def time(self) -> float:
        return self.read()[1] / 1e9


def install(clock: Clock) -> None:
    """Let the doors of this process live by a clock: all but sockets, and the keeper of releases, which meet others."""
    for module in (edge.runtime.daemon, edge.core.clock, edge.runtime.event_recorder, edge.outbox.outbox):
        replace(module, time=clock)
    publisher = functools.partial(Publisher, backoff_s=BACKOFF_S)
    replace(edge.runtime.daemon, Publisher=publisher)
