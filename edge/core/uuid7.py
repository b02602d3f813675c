"""UUID version 7: ids that sort by time (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable

RANDOM_BYTES = 10
RANDOM_TAIL_BITS = 74  # rand_a (12) and rand_b (62), read as one number


def uuid7(unix_ms: int, tail: int) -> uuid.UUID:
    """Make a UUIDv7 of 48 bits of time (milliseconds since 1970 UTC), version, variant and a tail of 74 bits.

    Raises:
        ValueError: the time or the tail is out of range.
    """
    if not 0 <= unix_ms < 1 << 48 or not 0 <= tail < 1 << RANDOM_TAIL_BITS:
        raise ValueError(f"a UUIDv7 has 48 bits of time and a tail of 74 bits; {unix_ms} or {tail} is out of range")
    rand_a, rand_b = tail >> 62, tail & ((1 << 62) - 1)
    return uuid.UUID(int=unix_ms << 80 | 7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


class Uuid7Source:
    """Makes strictly increasing UUIDv7s, also within one millisecond and when the clock steps back; thread-safe.

    Within one millisecond the tail grows by a random step (RFC 9562, section 6.2, method 2), so that ids remain hard to
    guess.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._lock = threading.Lock()
        self._last_ms = -1
        self._tail = 0

    def new(self, unix_ms: int) -> str:
        """The next id as 36 characters; `unix_ms` is the wall clock in milliseconds since 1970 UTC."""
        with self._lock:
            if unix_ms > self._last_ms:
                self._last_ms, self._tail = unix_ms, self._new_tail()
            else:
                self._tail += 1 + int.from_bytes(self._random(4), "big")
                if self._tail >> RANDOM_TAIL_BITS:
                    self._last_ms, self._tail = self._last_ms + 1, self._new_tail()
            return str(uuid7(self._last_ms, self._tail))

    def _new_tail(self) -> int:
        return int.from_bytes(self._random(RANDOM_BYTES), "big") & ((1 << RANDOM_TAIL_BITS) - 1)
