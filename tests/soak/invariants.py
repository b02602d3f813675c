"""Checks the invariants of a door on the records of a run. Pure: no file, no clock, no network.

Every violation is one line that names its invariant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec
import numpy as np

WARM_UP = 0.25  # share of the samples at the beginning that are ignored for growth


class Invariant(StrEnum):
    """Properties that a door keeps under every fault."""

    NOTHING_LOST = "nothing lost"
    IN_ORDER = "in order"
    COPIES_RECOGNISABLE = "copies recognisable"
    NUMBERS_RISE = "numbers rise"
    NOTHING_INVENTED = "nothing invented"
    RECORDED_FIRST = "recorded before it opens"
    NEVER_LATE = "no open command late"
    NEVER_TWICE = "no open command twice"
    NEVER_RETAINED = "no open command retained"
    DRAINED = "nothing waits at the end"
    READABLE = "all readable"
    MEMORY_FLAT = "memory flat"
    HANDLES_FLAT = "file handles constant"
    THREADS_FLAT = "threads constant"


class Violation(msgspec.Struct, frozen=True):
    """A violated invariant, with one line of detail."""

    invariant: Invariant
    detail: str


class StoredEvent(msgspec.Struct, frozen=True):
    """An event on disk, in the order of storing; `lost` is how many others an events-dropped event reports."""

    seq: int
    id: str
    lost: int = 0


class ReceivedEvent(msgspec.Struct, frozen=True):
    """A copy of an event, in the order of arrival; `body` is the event without the time of sending."""

    seq: int
    id: str
    body: str
    lost: int = 0


class ReceivedOpen(msgspec.Struct, frozen=True):
    """An open command in the order of arrival; both times are on the same clock, seconds."""

    seq: int
    id: str
    at_s: float
    expires_s: float
    retained: bool = False


class Reading(msgspec.Struct, frozen=True):
    """Resources of the door's process at one moment: simulated hours since the start, 10^6 bytes, counts."""

    hour: float
    memory_mb: float
    handles: int
    threads: int


class ResourceTrend(msgspec.Struct, frozen=True):
    """Resources of the door's process after its warm-up; `growth` is a share of the memory at that time."""

    readings: int
    memory_mb: float
    growth: float
    handles: tuple[int, int]
    threads: tuple[int, int]


def check_events(stored: Sequence[StoredEvent], received: Sequence[ReceivedEvent]) -> list[Violation]:
    """Check that every stored event arrived, in the order of its numbers; copies are allowed."""
    violations = _numbers([one.seq for one in stored], [one.id for one in stored])
    first: dict[str, ReceivedEvent] = {}
    owner: dict[int, str] = {}
    highest = 0
    for one in received:
        known = first.get(one.id)
        if known is not None:
            if (known.seq, known.body) != (one.seq, one.body):
                violations.append(Violation(Invariant.COPIES_RECOGNISABLE, f"{one.id} came as two different events"))
            continue
        if one.seq in owner:
            violations.append(Violation(Invariant.COPIES_RECOGNISABLE, f"number {one.seq} came under two ids"))
        if one.seq <= highest:
            violations.append(Violation(Invariant.IN_ORDER, f"number {one.seq} came after number {highest}"))
        first[one.id], owner[one.seq], highest = one, one.id, max(highest, one.seq)
    return violations + _lost(stored, first) + _invented(stored, first)


def check_store(notes: Sequence[StoredEvent], stored: Sequence[StoredEvent]) -> list[Violation]:
    """Check that every event that was noted as stored is still stored, in that order."""
    violations = _numbers([one.seq for one in notes], [one.id for one in notes])
    known = {one.id: one.seq for one in stored}
    gone = [one.seq for one in notes if known.get(one.id) != one.seq]
    if gone:
        violations.append(
            Violation(Invariant.NOTHING_LOST, f"{len(gone)} stored events are missing; the first is {gone[0]}")
        )
    return violations


def check_opens(stored: Iterable[StoredEvent], opens: Sequence[ReceivedOpen]) -> list[Violation]:
    """Check that each open command arrived in time, once, not retained, and only after its event was stored."""
    known = {one.id: one.seq for one in stored}
    violations: list[Violation] = []
    seen: set[str] = set()
    for one in opens:
        if one.id in seen:
            violations.append(Violation(Invariant.NEVER_TWICE, f"number {one.seq} came twice"))
        if one.retained:
            violations.append(Violation(Invariant.NEVER_RETAINED, f"number {one.seq} was retained by the broker"))
        if one.at_s > one.expires_s:
            late_ms = (one.at_s - one.expires_s) * 1000
            violations.append(Violation(Invariant.NEVER_LATE, f"number {one.seq} came {late_ms:.0f} ms too late"))
        if known.get(one.id) != one.seq:
            violations.append(
                Violation(Invariant.RECORDED_FIRST, f"number {one.seq} opens, and no such event was stored")
            )
        seen.add(one.id)
    return violations


def check_end(depth: int, unreadable: int) -> list[Violation]:
    """Check that the outbox is empty and that every message was readable."""
    violations = [Violation(Invariant.DRAINED, f"{depth} events were never acknowledged")] if depth else []
    if unreadable:
        violations.append(Violation(Invariant.READABLE, f"{unreadable} messages are not of the contract"))
    return violations


def measure_trend(readings: Sequence[Reading], warm_up: float = WARM_UP) -> ResourceTrend:
    """Return the trend of memory, handles and threads after the warm-up.

    Growth is the slope of Theil and Sen times the hours, as a share of the line's start. This slope is the median over
    all pairs of readings, so single spikes and dips do not decide.

    Raises:
        ValueError: fewer than four readings remain.
    """
    kept = list(readings[int(len(readings) * warm_up) :])
    if len(kept) < 4:
        raise ValueError(f"{len(kept)} readings are too few to measure growth")
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


def check_trend(trend: ResourceTrend, max_growth: float) -> list[Violation]:
    """Check that the process uses no more at its end than after its warm-up; no fault is active at the readings."""
    violations = []
    if trend.growth >= max_growth:
        detail = f"grew by {trend.growth:.2%} of {trend.memory_mb:.1f} MB after the warm-up, more than {max_growth:.0%}"
        violations.append(Violation(Invariant.MEMORY_FLAT, detail))
    for invariant, (least, most) in ((Invariant.HANDLES_FLAT, trend.handles), (Invariant.THREADS_FLAT, trend.threads)):
        if least != most:
            violations.append(Violation(invariant, f"between {least} and {most} after the warm-up"))
    return violations


def _numbers(seqs: Sequence[int], ids: Sequence[str]) -> list[Violation]:
    violations = [
        Violation(Invariant.NUMBERS_RISE, f"number {after} was given after number {before}")
        for before, after in pairwise(seqs)
        if after <= before
    ]
    if len(set(ids)) != len(ids):
        violations.append(Violation(Invariant.COPIES_RECOGNISABLE, f"{len(ids) - len(set(ids))} ids were given twice"))
    return violations


def _lost(stored: Sequence[StoredEvent], first: dict[str, ReceivedEvent]) -> list[Violation]:
    """Find events that never arrived and were not reported as dropped."""
    missing = [one.seq for one in stored if one.id not in first]
    reported = sum(one.lost for one in first.values())
    if len(missing) <= reported:
        return []
    return [
        Violation(
            Invariant.NOTHING_LOST,
            f"{len(missing)} never came, {reported} reported as dropped; the first is {missing[0]}",
        )
    ]


def _invented(stored: Sequence[StoredEvent], first: dict[str, ReceivedEvent]) -> list[Violation]:
    """Find events that arrived and were never stored."""
    known = {one.id for one in stored}
    invented = [one.seq for one in first.values() if one.id not in known]
    if not invented:
        return []
    return [Violation(Invariant.NOTHING_INVENTED, f"{len(invented)} came, never stored; the first is {invented[0]}")]
