"""UUIDv7: layout of the RFC, and strictly increasing ids."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from edge.core.uuid7 import RANDOM_TAIL_BITS, Uuid7Source, uuid7


def test_uuid7_layout_of_the_rfc() -> None:
    """Example of RFC 9562, appendix A.6."""
    tail = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7(0x017F22E279B0, tail) == uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@given(st.lists(st.integers(0, 2**47), min_size=2, max_size=30), st.binary(min_size=16, max_size=16))
def test_ids_rise_whatever_the_clock_does(clock_ms: list[int], seed: bytes) -> None:
    """Ids are valid UUIDv7s in order when the clock steps back, stops or jumps."""
    source = Uuid7Source(lambda n: seed[:n])
    made = [source.new(ms) for ms in clock_ms]
    assert made == sorted(set(made))
    assert all((uuid.UUID(text).version, uuid.UUID(text).variant) == (7, uuid.RFC_4122) for text in made)


def test_ids_rise_when_a_millisecond_is_used_up() -> None:
    """After the last tail of a millisecond comes the next millisecond."""
    source = Uuid7Source(lambda n: b"\xff" * n)
    first, second = source.new(5), source.new(5)
    assert uuid.UUID(first) == uuid7(5, (1 << RANDOM_TAIL_BITS) - 1)
    assert uuid.UUID(second).int >> 80 == 6
