"""Seeded mutator: makes damaged or hostile bytes from valid ones. Equal seeds give equal results on every machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

Change = Callable[[bytearray, Random], None]

SEPARATOR = b"\x00<next part>\x00"  # separates the files of an input of several files
_TOKEN = re.compile(rb"[A-Za-z0-9_.+:-]+|\s+|.", re.DOTALL)
_TOKENISED_BYTES = 8192
_LONGEST_BYTES = 1 << 20  # no mutation makes an input longer
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63)
WORDS = (
    *(b"nan", b"inf", b"-inf", b"-1", b"0", b"-0.0", b"1e999", b"1e-999", b"1e300", b"9" * 400, b"9" * 5000),
    *(b"9223372036854775808", b"18446744073709551616", b"null", b"true", b"false", b'""', b"''", b"[]", b"{}"),
    *(b"[" * 3000, b'{"a":' * 3000, b"a." * 1500, b"\xff", b"\xed\xa0\x80", b"\x00", b"\x1b[2J", b"\r\n"),
    b"\xe2\x80\xa8",
    *(b"2026-02-30", b"9999-12-31", b"0001-01-01", b"9999-12-31T23:59:59.999999-14:00", b"24:00", b"00:00"),
    *(b"../../etc/passwd", b"/dev/zero", b"*", b"[!", b"+", b"#", b"$SYS", b"repo", b"A" * 70_000),
)  # fmt: skip


def mutated(seeds: Sequence[bytes], random: Random, words: Sequence[bytes] = ()) -> bytes:
    """Return a seed with one to six mutations; rarely random bytes.

    Args:
        seeds: valid inputs.
        random: generator of all random choices.
        words: byte strings that have a meaning to the parser, inserted in addition to WORDS.
    """
    if random.random() < 0.01:
        return random.randbytes(random.randrange(200))
    content = bytearray(random.choice(seeds))
    for _ in range(min(1 + int(random.expovariate(0.7)), 6)):
        way = random.random()
        if way < 0.2:
            _splice(content, random.choice(seeds), random)
        elif way < 0.4:
            _put_word(content, random, words)
        elif way < 0.6 and len(content) <= _TOKENISED_BYTES:
            _change_token(content, random, words)
        else:
            random.choice(_CHANGES)(content, random)
    return bytes(content[:_LONGEST_BYTES])


def _span(content: bytearray, random: Random, longest: int = 64) -> tuple[int, int]:
    """Return the start and end of a random span, usually a short one."""
    start = random.randrange(len(content) + 1)
    return start, min(start + random.randrange(1, longest + 1), len(content))


def _word(random: Random, words: Sequence[bytes]) -> bytes:
    return random.choice(words) if words and random.random() < 0.6 else random.choice(WORDS)


def _flip(content: bytearray, random: Random) -> None:
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _overwrite(content: bytearray, random: Random) -> None:
    if content:
        content[random.randrange(len(content))] = random.randrange(256)


def _cut_end(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content) + 1) :]


def _delete(content: bytearray, random: Random) -> None:
    start, end = _span(content, random)
    del content[start:end]


def _double(content: bytearray, random: Random) -> None:
    start, end = _span(content, random)
    content[end:end] = content[start:end] * random.choice((1, 1, 2, 50))


def _zero(content: bytearray, random: Random) -> None:
    start, end = _span(content, random)
    content[start:end] = bytes(end - start)


def _noise(content: bytearray, random: Random) -> None:
    start, end = _span(content, random, 16)
    content[start:end] = random.randbytes(end - start)


def _edge(content: bytearray, random: Random) -> None:
    """Insert a binary number near the limit of an integer type."""
    size = random.choice((1, 2, 4, 8))
    if len(content) >= size:
        start = random.randrange(len(content) - size + 1)
        value = (random.choice(_EDGES) + random.choice((0, 0, -1, 1))) % (1 << 8 * size)
        content[start : start + size] = value.to_bytes(size, random.choice(("little", "big")))


_CHANGES: tuple[Change, ...] = (_flip, _flip, _overwrite, _cut_end, _delete, _double, _zero, _noise, _edge, _edge)


def _put_word(content: bytearray, random: Random, words: Sequence[bytes]) -> None:
    start = random.randrange(len(content) + 1)
    word = _word(random, words)
    content[start : start + (len(word) if random.random() < 0.5 else 0)] = word


def _splice(content: bytearray, other: bytes, random: Random) -> None:
    """Join the beginning of one seed and the end of another, or insert a span of the other."""
    at, start = random.randrange(len(content) + 1), random.randrange(len(other) + 1)
    if random.random() < 0.5:
        content[at:] = other[start:]
    else:
        content[at:at] = other[start : start + random.randrange(1, 200)]


def _change_token(content: bytearray, random: Random, words: Sequence[bytes]) -> None:
    """Replace, delete or copy one token of a text."""
    tokens = _TOKEN.findall(bytes(content))
    if not tokens:
        return
    at, way = random.randrange(len(tokens)), random.randrange(5)
    if way == 0:
        del tokens[at]
    elif way == 1:
        tokens.insert(at, random.choice(tokens))
    elif way == 2:
        tokens[at] = random.choice(tokens)
    else:
        tokens[at] = _word(random, words)
    content[:] = b"".join(tokens)
