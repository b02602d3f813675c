"""Numbers that rise strictly over the life of a door, whatever becomes of its store.

A store counts by itself. A new one, because the old one was lost, starts above three witnesses: what could be read of
the old one, a small file beside it that is always ahead of the numbers in use, and the wall clock. Any one of them is
enough.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from edge.core.files import atomic_write

MAX_SEQ = 1 << 52  # JSON readers keep whole numbers exactly up to 2**53
_BLOCK = 1000  # numbers reserved at once, so that the file is seldom written
_REFILL_AT = 100  # left of them when the next ones are reserved
_EPOCH_S = 1_577_836_800  # 2020-01-01 UTC
_PER_SECOND_BITS = 20  # no door makes a million events a second for long: a later clock always gives a higher number


def seq_from_clock(unix_s: float) -> int:
    """A number above all that were given out under an earlier clock; 0 for a clock before 2020."""
    return min(max(int(unix_s) - _EPOCH_S, 0) << _PER_SECOND_BITS, MAX_SEQ)


class SequenceFloor:
    """The small file: no number above what it holds is in use.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._retry_seq = 0
        self.value = 0
        with contextlib.suppress(OSError, ValueError):
            value = int(path.read_text(encoding="ascii"))
            self.value = value if 0 <= value <= MAX_SEQ else 0

    def reserve_beyond(self, seq: int) -> None:
        """Keep ahead of `seq`; on a disk that takes nothing, try again some numbers later."""
        if seq + _REFILL_AT < self.value or seq < self._retry_seq:
            return
        self._retry_seq = seq + _REFILL_AT // 10
        with contextlib.suppress(OSError):
            atomic_write(self._path, f"{seq + _BLOCK}\n".encode(), private=True)
            self.value = seq + _BLOCK
