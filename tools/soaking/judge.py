"""What was promised, held against what happened. Pure: no file, no clock, no network.

Every finding is one line that names the promise, so that a run that fails says which one was broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec
import numpy as np

WARM_UP = 0.25  # share of the samples at the beginning that say nothing about growth


class Invariant(StrEnum):
    """What a door keeps to, whatever befalls it."""

    NOTHING_LOST = "nothing lost"
    IN_ORDER = "in order"
    COPIES_RECOGNISABLE = "copies recognisable"
    NUMBERS_RISE = "numbers rise"
    NOTHING_INVENTED = "nothing invented"
    RECORDED_FIRST = "recorded before it opens"
    NEVER_LATE = "no opening late"
    NEVER_TWICE = "no opening twice"
    NEVER_RETAINED = "no opening retained"
    DRAINED = "nothing waits at the end"
    READABLE = "all readable"
    MEMORY_FLAT = "memory flat"
    HANDLES_FLAT = "file handles constant"
    THREADS_FLAT = "threads constant"


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, and how, in one line."""

    promise: Invariant
    how: str


class StoredEvent(msgspec.Struct, frozen=True):
    """An event on disk, in the order of storing; `lost` is how many others an events-dropped owns up to."""

    seq: int
    id: str
    lost: int = 0


class ReceivedEvent(msgspec.Struct, frozen=True):
    """A copy of an event as it arrived, in that order; `body` is all of it but the time of sending."""

    seq: int
    id: str
    body: str
    lost: int = 0


class ReceivedOpen(msgspec.Struct, frozen=True):
    """An opening as it arrived; both times are on the same clock, seconds."""

    seq: int
    id: str
    at_s: float
    expires_s: float
    retained: bool = False


class Reading(msgspec.Struct, frozen=True):
    """What the door's process held at one moment: simulated hours since the start, 10^6 bytes, counts."""

    hour: float
    memory_mb: float
    handles: int
    threads: int


class ResourceTrend(msgspec.Struct, frozen=True):
    """What became of the door's process after it had warmed up; `growth` is a share of the memory at that time."""

    readings: int
    memory_mb: float
    growth: float
    handles: tuple[int, int]
    threads: tuple[int, int]


def judge_events(written: Sequence[StoredEvent], heard: Sequence[ReceivedEvent]) -> list[Violation]:
    """Whether everything on disk arrived, once its copies are put aside, in the order of its numbers."""
    breaches = _numbers([one.seq for one in written], [one.id for one in written])
    first: dict[str, ReceivedEvent] = {}
    owner: dict[int, str] = {}
    highest = 0
    for one in heard:
        known = first.get(one.id)
        if known is not None:
            if (known.seq, known.body) != (one.seq, one.body):
                breaches.append(Violation(Invariant.COPIES_RECOGNISABLE, f"{one.id} came as two different events"))
            continue
        if one.seq in owner:
            breaches.append(Violation(Invariant.COPIES_RECOGNISABLE, f"number {one.seq} came under two ids"))
        if one.seq <= highest:
            breaches.append(Violation(Invariant.IN_ORDER, f"number {one.seq} came after number {highest}"))
        first[one.id], owner[one.seq], highest = one, one.id, max(highest, one.seq)
    return breaches + _lost(written, first) + _invented(written, first)


def judge_store(notes: Sequence[StoredEvent], stored: Sequence[StoredEvent]) -> list[Violation]:
    """Whether everything that was once reported as stored still is, in that order."""
    breaches = _numbers([one.seq for one in notes], [one.id for one in notes])
    known = {one.id: one.seq for one in stored}
    gone = [one.seq for one in notes if known.get(one.id) != one.seq]
    if gone:
        breaches.append(
            Violation(Invariant.NOTHING_LOST, f"{len(gone)} stored events are gone; the first is {gone[0]}")
        )
    return breaches


def judge_openings(written: Iterable[StoredEvent], openings: Sequence[ReceivedOpen]) -> list[Violation]:
    """Whether each opening came in time, once, not out of the broker's memory, and only after its event was stored."""
    known = {one.id: one.seq for one in written}
    breaches: list[Violation] = []
    seen: set[str] = set()
    for one in openings:
        if one.id in seen:
            breaches.append(Violation(Invariant.NEVER_TWICE, f"number {one.seq} came twice"))
        if one.retained:
            breaches.append(Violation(Invariant.NEVER_RETAINED, f"number {one.seq} was kept by the broker"))
        if one.at_s > one.expires_s:
            late_ms = (one.at_s - one.expires_s) * 1000
            breaches.append(Violation(Invariant.NEVER_LATE, f"number {one.seq} came {late_ms:.0f} ms too late"))
        if known.get(one.id) != one.seq:
            breaches.append(
                Violation(Invariant.RECORDED_FIRST, f"number {one.seq} opens, and no such event was stored")
            )
        seen.add(one.id)
    return breaches


def judge_end(depth: int, unreadable: int) -> list[Violation]:
    """Whether the outbox has nothing left to send, and all that was sent could be read."""
    breaches = [Violation(Invariant.DRAINED, f"{depth} events were never acknowledged")] if depth else []
    if unreadable:
        breaches.append(Violation(Invariant.READABLE, f"{unreadable} messages are not of the contract"))
    return breaches


def flatness(readings: Sequence[Reading], warm_up: float = WARM_UP) -> ResourceTrend:
    """How memory, handles and threads went after the warm-up.

    Growth is the slope of Theil and Sen (the median over all pairs of readings), so that neither one spike nor one
    dip decides, times the hours, as a share of the line's own start.

    Raises:
        ValueError: fewer than four readings are left.
    """
    kept = list(readings[int(len(readings) * warm_up) :])
    if len(kept) < 4:
        raise ValueError(f"{len(kept)} readings say nothing about growth")
    hours = np.array([one.hour for one in kept])
    memory = np.array([one.memory_mb for one in kept])
    rows, columns = np.triu_indices(len(kept), 1)
    slope = float(np.median((memory[columns] - memory[rows]) / (hours[columns] - hours[rows])))
    start = float(np.median(memory - slope * (hours - hours[0])))
    handles, threads = [one.handles for one in kept], [one.threads for one in kept]
    return ResourceTrend(
        readings=len(kept),
        memory_mb=round(start, 2),
        growth=slope * float(hours[-1] - hours[0]) / start,
        handles=(min(handles), max(handles)),
        threads=(min(threads), max(threads)),
    )


def judge_flatness(found: ResourceTrend, most_growth: float) -> list[Violation]:
    """Whether the process held the same at its end as after its warm-up; readings are taken when nothing is wrong."""
    breaches = []
    if found.growth >= most_growth:
        how = f"grew by {found.growth:.2%} of {found.memory_mb:.1f} MB after the warm-up, more than {most_growth:.0%}"
        breaches.append(Violation(Invariant.MEMORY_FLAT, how))
    for promise, (least, most) in ((Invariant.HANDLES_FLAT, found.handles), (Invariant.THREADS_FLAT, found.threads)):
        if least != most:
            breaches.append(Violation(promise, f"between {least} and {most} after the warm-up"))
    return breaches


def _numbers(seqs: Sequence[int], ids: Sequence[str]) -> list[Violation]:
    breaches = [
        Violation(Invariant.NUMBERS_RISE, f"number {after} was given after number {before}")
        for before, after in pairwise(seqs)
        if after <= before
    ]
    if len(set(ids)) != len(ids):
        breaches.append(Violation(Invariant.COPIES_RECOGNISABLE, f"{len(ids) - len(set(ids))} ids were given twice"))
    return breaches


def _lost(written: Sequence[StoredEvent], first: dict[str, ReceivedEvent]) -> list[Violation]:
    """What never came and was not owned up to."""
    missing = [one.seq for one in written if one.id not in first]
    told = sum(one.lost for one in first.values())
    if len(missing) <= told:
        return []
    return [
        Violation(Invariant.NOTHING_LOST, f"{len(missing)} never came, {told} owned up to; the first is {missing[0]}")
    ]


def _invented(written: Sequence[StoredEvent], first: dict[str, ReceivedEvent]) -> list[Violation]:
    """What came and was never on disk."""
    known = {one.id for one in written}
    strange = [one.seq for one in first.values() if one.id not in known]
    if not strange:
        return []
    return [Violation(Invariant.NOTHING_INVENTED, f"{len(strange)} came, never stored; the first is {strange[0]}")]
