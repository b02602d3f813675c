"""Weekly time windows, holidays and validity dates, in local time at the door. Pure.

A window is a span of local wall-clock time. The hour that a daylight-saving change skips never occurs, so it opens
nothing; the hour that it repeats occurs twice, and a window covers both. A window whose end is not after its start
ends on the next day. It belongs to the day on which it begins, even if the next day is a holiday.
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
    """Span in minutes since midnight, without `end_min` itself; above 1440 it ends on the next day."""

    start_min: int
    end_min: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A week of windows."""

    week: tuple[tuple[TimeWindow, ...], ...]  # windows of each day, Monday first
    holidays: tuple[TimeWindow, ...] | None = None  # windows of holidays; None: as the calendar treats the day


@dataclass(frozen=True, slots=True)
class Calendar:
    """Time zone and holidays at the door."""

    zone: tzinfo = UTC  # time zone, with its daylight-saving changes
    # Holidays, by date or by (month, day) of every year. The value is the weekday that the day counts as (0 is Monday);
    # None: no window begins on it. A date takes precedence over a (month, day).
    holidays: Mapping[date | tuple[int, int], int | None] = field(default_factory=dict)

    def local(self, wall_ns: int) -> datetime:
        """Local time at the door; `wall_ns` is in nanoseconds since 1970 UTC."""
        return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(self.zone)

    def covers(self, schedule: Schedule, local: datetime) -> bool:
        """Whether a window of the schedule contains this time."""
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
    """Validity period. A date means the whole day, also as `end`; a datetime belongs to the period only as `start`."""

    start: LocalTime | None = None
    end: LocalTime | None = None

    def refusal_reason(self, local: datetime) -> Reason | None:
        """The reason to deny at this time; None: valid."""
        start, end = self.start, self.end
        if start is not None and (local < start if isinstance(start, datetime) else local.date() < start):
            return Reason.NOT_YET_VALID
        if end is not None and (local >= end if isinstance(end, datetime) else local.date() > end):
            return Reason.NO_LONGER_VALID
        return None


def resolve_dst(moment: LocalTime, zone: tzinfo, *, late: bool) -> LocalTime:
    """Resolve a datetime without offset as local time at the door; a date stays as it is.

    Args:
        late: the reading to take if a daylight-saving change makes the time ambiguous.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is not None:
        return moment
    readings = [moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return max(readings) if late else min(readings)


def make_window(text: str) -> TimeWindow:
    """Read "07:00-19:00"; "22:00-06:00" reaches into the next day, and "24:00" is the end of the day.

    Raises:
        ValueError: not such a span, or an empty one.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is not a time span; write it as \"07:00-19:00\"")
    hour, minute, end_hour, end_minute = map(int, found.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or start >= _DAY_MIN or end > _DAY_MIN:
        raise ValueError(f"'{text}' has an impossible time; times are 00:00 to 23:59, and an end may be 24:00")
    if start == end:
        raise ValueError(f"'{text}' is empty; write \"00:00-24:00\" for a whole day")
    return TimeWindow(start, end if end > start else end + _DAY_MIN)


def weekdays(text: str) -> list[int]:
    """Read "mon", "mon-fri", "sat-mon" or "tue,thu"; 0 is Monday.

    Raises:
        ValueError: a part is no day; its text is that part.
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
