"""State of every door, from the messages of the doors; pure. Bounded, because any client may write to the broker.

Texts are shortened for the pages, and control, invisible and bidirectional characters are replaced.
"""

from __future__ import annotations

import datetime
import math
from collections import deque

import msgspec

from edge.events.reasons import REASON_TEXTS, reason_meaning
from edge.events.schema import Event, GalleryRef, Health, PresenceReport, Record, ReleaseReport, Status

MAX_DOORS = 2000  # doors in the list, limited by the table in the browser; events of all doors are accepted
MAX_COUNTED = 100_000  # further doors, counted by name
MAX_TEXT = 400  # characters
MAX_NAME = 80
MAX_LINES = 20  # problems, and stages
RECENT = 90  # health samples at full rate: a quarter of an hour at one per ten seconds
_JOINERS = "\u200c\u200d"  # invisible, but needed in some scripts and in emoji


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event, for pages and history."""

    n: int  # number in order of arrival, also across restarts
    door: str  # "site/door"
    id: str
    kind: str
    at_ms: int  # time by the clock of the door, milliseconds since 1970 UTC
    received_ms: int  # time of receipt by the clock here
    who: str  # name, or ""
    person: str
    reason: str  # what the reason means, with the detail
    rule: str
    distance_sq: float | None
    threshold_sq: float | None
    action: str = ""  # what an operator does, or ""


class HealthSample(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one health report. Time in milliseconds since 1970 UTC by the clock here; stage medians in ms."""

    at_ms: int
    fps: float
    temperature_c: float | None
    outbox_depth: int
    stages: dict[str, float]


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Release of a door; see ReleaseReport. `applied_ms`: milliseconds since 1970 UTC; None: malformed or missing."""

    release: int | None
    applied_ms: int | None
    ok: bool
    reason: str
    people: int | None
    gallery: str
    models: dict[str, str]


class DoorRow(msgspec.Struct, frozen=True, kw_only=True):
    """One door. Fields that it has not reported are None or ""."""

    door: str
    version: int  # increases with every change of any door
    status: str = ""  # "online", "offline", or "" if not reported
    reason: str = ""
    camera: str = ""
    problems: tuple[str, ...] = ()
    uptime_s: float | None = None
    health: HealthSample | None = None
    gallery: str = ""
    somebody: bool | None = None  # whether a visitor is at the door
    last: EventRow | None = None
    release: ReleaseRow | None = None


class Fleet:
    """All doors that have reported."""

    def __init__(self) -> None:
        self.version = 0  # of the latest change
        self._doors: dict[str, DoorRow] = {}
        self._recent: dict[str, deque[HealthSample]] = {}
        self._unlisted: set[str] = set()

    @property
    def unlisted(self) -> int:
        """Number of doors that are not listed, because there are `MAX_DOORS` others."""
        return len(self._unlisted)

    def update(self, site: str, door: str, record: Record, received_ms: int, n: int) -> EventRow | None:
        """Process a message; returns the row of an event, numbered `n`, even if its door is not listed.

        Messages of doors with a name longer than `MAX_NAME` are ignored.
        """
        name = door_name(site, door)
        if max(len(site), len(door)) > MAX_NAME:
            return None
        row = event_row(name, record, received_ms, n) if isinstance(record, Event) else None
        if not self._admit(name):
            return row
        match record:
            case Event():
                self._replace(name, last=row)
            case Status():
                self._replace(name, status=record.status.value, reason=clean_text(reason_meaning(record.reason)))
            case Health():
                self._health(name, record, received_ms)
            case ReleaseReport():
                self._replace(name, release=release_row(record))
            case PresenceReport():
                self._replace(name, somebody=record.somebody)
        return row

    def restore(self, row: EventRow) -> None:
        """Set the last event of a door from the history."""
        if self._admit(row.door):
            self._replace(row.door, last=row)

    def remove(self, name: str) -> bool:
        """Remove a door from the list; returns whether it was there."""
        self.version += 1
        self._recent.pop(name, None)
        return self._doors.pop(name, None) is not None

    def doors(self, after_version: int = 0) -> list[DoorRow]:
        """The doors that changed after a version, by name."""
        return sorted((row for row in self._doors.values() if row.version > after_version), key=lambda row: row.door)

    def doors_of(self, site: str) -> list[DoorRow]:
        """The doors of a site, by name."""
        return [row for row in self.doors() if row.door.startswith(f"{site}/")]

    def door(self, name: str) -> DoorRow | None:
        return self._doors.get(name)

    def recent(self, name: str) -> list[HealthSample]:
        """The latest health samples of a door, oldest first."""
        return list(self._recent.get(name, ()))

    def _admit(self, name: str) -> bool:
        """Whether a door is in the list or fits into it; counts doors that do not fit."""
        if name in self._doors or len(self._doors) < MAX_DOORS:
            return True
        if len(self._unlisted) < MAX_COUNTED:
            self._unlisted.add(name)
        return False

    def _health(self, name: str, record: Health, received_ms: int) -> None:
        stages = list(record.stages.items())[:MAX_LINES]
        sample = HealthSample(
            at_ms=received_ms,
            fps=finite_float(record.fps),
            temperature_c=None if record.temperature_c is None else finite_float(record.temperature_c),
            outbox_depth=whole_number(record.outbox_depth),
            stages={clean_text(stage, MAX_NAME): finite_float(timing.median_ms) for stage, timing in stages},
        )
        recent = self._recent.setdefault(name, deque(maxlen=RECENT))
        if not recent or received_ms > recent[-1].at_ms:
            recent.append(sample)
        self._replace(
            name,
            camera=record.camera.value,
            problems=tuple(clean_text(line) for line in record.problems[:MAX_LINES]),
            uptime_s=finite_float(record.uptime_s),
            health=sample,
            gallery=version_of(record.gallery),
        )

    def _replace(self, name: str, **changes: object) -> None:
        self.version += 1
        known = self._doors.get(name) or DoorRow(door=name, version=0)
        self._doors[name] = msgspec.structs.replace(known, version=self.version, **changes)


def door_name(site: str, door: str) -> str:
    """Name of a door on the pages, "site/door"."""
    return f"{clean_text(site)}/{clean_text(door)}"


def event_row(door: str, event: Event, received_ms: int, n: int) -> EventRow:
    """An event as a row."""
    return EventRow(
        n=n,
        door=door,
        id=clean_text(event.id, MAX_NAME),
        kind=event.kind.value,
        at_ms=received_ms if (at_ms := unix_ms(event.at)) is None else at_ms,
        received_ms=received_ms,
        who=clean_text(event.person.name, MAX_NAME) if event.person else "",
        person=clean_text(event.person.id, MAX_NAME) if event.person else "",
        reason=clean_text(reason_meaning(event.reason, event.detail)),
        action=REASON_TEXTS[event.reason].action,
        rule=clean_text(event.rule or "", MAX_NAME),
        distance_sq=None if event.distance_sq is None else finite_float(event.distance_sq),
        threshold_sq=None if event.threshold_sq is None else finite_float(event.threshold_sq),
    )


def release_row(report: ReleaseReport) -> ReleaseRow:
    """A release report as a row."""
    return ReleaseRow(
        release=None if report.release is None else whole_number(report.release),
        applied_ms=None if report.applied_at is None else unix_ms(report.applied_at),
        ok=report.ok,
        reason=clean_text(reason_meaning(report.reason, report.detail)),
        people=None if report.people is None else whole_number(report.people),
        gallery=version_of(report.gallery),
        models={
            clean_text(job, MAX_NAME): clean_text(hash_, 12) for job, hash_ in list(report.models.items())[:MAX_LINES]
        },
    )


def version_of(gallery: GalleryRef | None) -> str:
    """Version of the gallery in a report, or ""."""
    return clean_text(gallery.version, MAX_NAME) if gallery else ""


def clean_text(text: str, most: int = MAX_TEXT) -> str:
    """Shortened text, with control, bidirectional and other invisible characters replaced."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(each if each.isprintable() or each in _JOINERS else "\ufffd" for each in cut)


def finite_float(value: float) -> float:
    """A finite number for JSON, SQLite and plots, rounded to four decimals."""
    return round(value, 4) if math.isfinite(value) and abs(value) < 1e15 else 0.0


def whole_number(value: int) -> int:
    """A count that JSON, SQLite and JavaScript represent exactly."""
    return min(max(value, -(2**53)), 2**53)


def unix_ms(at: str) -> int | None:
    """A time of the contract in milliseconds since 1970 UTC; None: not a date, such as the 99th of a month."""
    try:
        return round(datetime.datetime.fromisoformat(at).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
