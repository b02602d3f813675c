"""Fuzz targets: a parser of external input, its seeds and its documented errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutate import mutated

Parse = Callable[[bytes], None]
LONGEST_S = 1.0  # most processor time for one input
SHARED_MEMORY = Path("/dev/shm")


class UnreadError(Exception):
    """Raised by a target whose parser rejects an input by its return value."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test.

    Attributes:
        name: name on the command line.
        purpose: the input that the parser reads, and its source.
        seeds: returns valid inputs.
        make: takes an empty folder and returns a function that parses one input. The function returns if the input is
            accepted and the parser's promises hold.
        refuses: errors with which the parser may reject an input. Any other error is a bug.
        share: inputs out of a million.
        words: byte strings that have a meaning to the parser.
        repair: makes a mutated input pass outer checks. It is applied to half of the inputs.
        memory_mb: limit of memory growth, MiB.
        longest_s: limit of processor time for one input.
    """

    name: str
    purpose: str
    seeds: Callable[[], list[bytes]]
    make: Callable[[Path], Parse]
    refuses: tuple[type[Exception], ...]
    share: int
    words: tuple[bytes, ...] = ()
    repair: Callable[[bytes], bytes] | None = None
    memory_mb: int = 64
    longest_s: float = LONGEST_S


def nth_input(target: Target, seeds: list[bytes], seed: int, index: int) -> bytes:
    """Return input number `index` of a seed; it depends on nothing else."""
    return any_input(target, seeds, Random(f"{seed} {target.name} {index}"))


def any_input(target: Target, seeds: list[bytes], random: Random) -> bytes:
    """Return an input that `random` determines."""
    content = mutated(seeds, random, target.words)
    return target.repair(content) if target.repair is not None and random.random() < 0.5 else content


def accepts(target: Target, parse: Parse, content: bytes) -> bool:
    """Return whether the input was accepted; raises every undocumented error."""
    try:
        parse(content)
    except target.refuses:
        return False
    return True


def scratch_parent() -> str | None:
    """Return a folder in memory for temporary files, to spare the disk; None if there is no such folder."""
    return str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None
