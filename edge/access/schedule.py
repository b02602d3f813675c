"""When: weekly windows, holidays and dates of validity, by the clock on the wall at the door; pure.

A window is a span of local wall-clock time. In the hour that spring skips the clock never stands, so nothing opens by
it; in the hour that autumn doubles the clock stands twice, and a window holds both times. A window that ends at or
before its start reaches into the next day and belongs to the day on which it begins, also when the next day is a
holiday.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from edge.core.reasons import Reason

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LocalTime = date | datetime  # a date is a whole day on the local calendar; a datetime has its offset
_DAY_MIN = 24 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Minutes since midnight: `start_min` is inside, `end_min` is not; beyond 1440 it reaches into the next day."""

    start_min: int
    end_min: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A week of windows."""

    week: tuple[tuple[TimeWindow, ...], ...]  # the windows of each day, Monday first
    holidays: tuple[TimeWindow, ...] | None = None  # those of a holiday; None: as the calendar says of that day


@dataclass(frozen=True, slots=True)
class Calendar:
    """The clock and the calendar at the door."""

    zone: tzinfo = UTC  # of the door, with its daylight-saving changes
    # From a date, or from a (month, day) of every year, to the weekday that it counts as (0 is Monday), or None: no
    # window begins on it. A date goes before a (month, day).
    holidays: Mapping[date | tuple[int, int], int | None] = field(default_factory=dict)

    def local(self, wall_ns: int) -> datetime:
        """What the clock at the door shows at a moment given in nanoseconds since 1970 UTC."""
        return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(self.zone)

    def covers(self, schedule: Schedule, local: datetime) -> bool:
        """Whether a window of the schedule holds this moment."""
        minute, today = local.hour * 60 + local.minute, local.date()
        return any(one.start_min <= minute < one.end_min for one in self.windows(schedule, today)) or any(
            minute < one.end_min - _DAY_MIN for one in self.windows(schedule, today - timedelta(days=1))
        )

    def windows(self, schedule: Schedule, day: date) -> tuple[TimeWindow, ...]:
        """The windows that begin on this day."""
        for key in (day, (day.month, day.day)):
            if key in self.holidays:
                if schedule.holidays is not None:
                    return schedule.holidays
                weekday = self.holidays[key]
                return () if weekday is None else schedule.week[weekday]
        return schedule.week[day.weekday()]


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when. A date counts as a whole day, also as `end`; a datetime is included as `start` only."""

    start: LocalTime | None = None
    end: LocalTime | None = None

    def refusal_reason(self, local: datetime) -> Reason | None:
        """Why it does not hold at this moment; None: it holds."""
        start, end = self.start, self.end
        if start is not None and (local < start if isinstance(start, datetime) else local.date() < start):
            return Reason.NOT_YET_VALID
        if end is not None and (local >= end if isinstance(end, datetime) else local.date() > end):
            return Reason.NO_LONGER_VALID
        return None


def resolve_dst(moment: LocalTime, zone: tzinfo, *, late: bool) -> LocalTime:
    """A moment as it is compared: a date stays, and a datetime without offset is local time at the door.

    Where a daylight-saving change leaves two readings, `late` tells which is meant.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is not None:
        return moment
    readings = [moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return max(readings) if late else min(readings)


def make_window(text: str) -> TimeWindow:
    """Read "07:00-19:00"; "22:00-06:00" reaches into the next day, and "24:00" is the end of the day.

    Raises:
        ValueError: it is no such span, or an empty one.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no span of time such as \"07:00-19:00\"")
    hour, minute, end_hour, end_minute = map(int, found.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or start >= _DAY_MIN or end > _DAY_MIN:
        raise ValueError(f"'{text}' has a time that no clock shows; they go from 00:00 to 23:59, an end to 24:00")
    if start == end:
        raise ValueError(f"'{text}' is empty; a whole day is \"00:00-24:00\"")
    return TimeWindow(start, end if end > start else end + _DAY_MIN)


def weekdays(text: str) -> list[int]:
    """Read "mon", "mon-fri", "sat-mon" or "tue,thu"; 0 is Monday.

    Raises:
        ValueError: with the part that is no day.
    """
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        for name in (first, last):
            if name not in DAYS:
                raise ValueError(name)
        start, end = DAYS.index(first), DAYS.index(last)
        days += [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]
    return days
