"""What a fuzz target is: something that reads bytes from outside, and what it may answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutate import mutated

Parse = Callable[[bytes], None]
LONGEST_S = 1.0  # of processor time for one input
SHARED_MEMORY = Path("/dev/shm")


class UnreadError(Exception):
    """For parsers that say by a value that an input is not for them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test.

    Attributes:
        name: on the command line.
        purpose: what it reads, and from whom.
        seeds: makes valid inputs.
        make: from an empty folder of its own to a function that reads one input. It returns when the input was
            accepted and what it promises then was found true.
        refuses: the errors by which it may refuse one; anything else that it raises is a bug.
        share: inputs out of a million.
        words: byte strings with a meaning to it.
        repair: makes a mutated input pass outer checks; used on half of them.
        memory_mb: how much more memory it may take at its worst than before.
        longest_s: processor time that one input may take.
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
    """The input of this number under this seed; it depends on nothing else."""
    return any_input(target, seeds, Random(f"{seed} {target.name} {index}"))


def any_input(target: Target, seeds: list[bytes], random: Random) -> bytes:
    """An input that `random` decides."""
    content = mutated(seeds, random, target.words)
    return target.repair(content) if target.repair is not None and random.random() < 0.5 else content


def accepts(target: Target, parse: Parse, content: bytes) -> bool:
    """Whether it was accepted; raises what is no refusal."""
    try:
        parse(content)
    except target.refuses:
        return False
    return True


def scratch_parent() -> str | None:
    """Where to keep files for a moment: in memory if there is such a folder, so that the disk is left in peace."""
    return str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None
