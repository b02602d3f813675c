"""Reads and checks policy.toml. Every mistake is reported in one line with its place.

A door without a table denies everybody, and a person without a rule is denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import Meta

from edge.access.model import AccessRules as AccessRules
from edge.access.model import AllowRule, DoorRules, PersonRules, default_rules
from edge.access.schedule import (
    DAYS,
    Calendar,
    LocalTime,
    Schedule,
    TimeWindow,
    Validity,
    make_window,
    resolve_dst,
    weekdays,
)
from edge.core.config import AccessConfig, Count, Factor
from edge.core.errors import ConfigError
from edge.core.records import LivenessMode
from edge.core.toml_config import StrictStruct, convert, did_you_mean, load_toml

_HOLIDAYS = "holidays"  # the row of a schedule for holidays
_CLOSED = "none"


def load_configured_rules(access: AccessConfig) -> AccessRules:
    """Access rules of [access] in door.toml: from a policy file, or from its list of people.

    Raises:
        ConfigError: the policy cannot be used, or [access] contradicts itself.
    """
    if not access.policy:
        return default_rules(access)
    if access.allow is not None:
        raise ConfigError("[access]: 'allow' and 'policy' exclude each other; name the people in the policy only")
    return parse_policy(Path(access.policy))


def parse_policy(path: Path) -> AccessRules:
    """Read and check policy.toml.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has an unknown, wrong or contradictory entry.
    """
    tables = load_toml(path)
    try:
        return _rules(convert(tables, _Policy))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:  # so does an error message that quotes the value
        raise ConfigError(f"{path}: nested too deeply") from error


class _Holiday(StrictStruct, frozen=True):
    date: Any  # a date, "2026-12-25", or "12-25" for every year
    like: str = _CLOSED  # weekday that the day counts as; "none": no window begins on it
    name: str = ""  # for people


class _Person(StrictStruct, frozen=True):
    valid_from: Any = None  # a date or a datetime
    valid_until: Any = None


class _Allow(StrictStruct, frozen=True):
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    schedule: str | None = None
    liveness: LivenessMode = LivenessMode.OFF


class _DoorTable(StrictStruct, frozen=True):
    allow: tuple[_Allow, ...] = ()
    threshold_factor: Factor = 1.0
    min_samples: Count | None = None
    liveness: LivenessMode = LivenessMode.OFF


class _Policy(StrictStruct, frozen=True):
    timezone: Annotated[str, Meta(min_length=1)] | None = None
    groups: dict[str, Any] = msgspec.field(default_factory=dict)
    schedules: dict[str, Any] = msgspec.field(default_factory=dict)
    holidays: tuple[_Holiday, ...] = ()
    people: dict[str, Any] = msgspec.field(default_factory=dict)
    doors: dict[str, Any] = msgspec.field(default_factory=dict)


def _rules(policy: _Policy) -> AccessRules:
    if policy.timezone is None and (policy.schedules or policy.people):
        raise ConfigError("top level: 'timezone' is missing; schedules and dates need one, such as Europe/Berlin")
    zone = _zone(policy.timezone) if policy.timezone else UTC
    holidays = dict(_holiday(one, f"holidays[{index}]") for index, one in enumerate(policy.holidays))
    schedules = {name: _schedule(rows, f"schedules.{name}") for name, rows in policy.schedules.items()}
    groups = {name: convert(value, tuple[str, ...], f"groups.{name}") for name, value in policy.groups.items()}
    limits = {name: convert(value, _Person, f"people.{name}") for name, value in policy.people.items()}
    people = [_person(name, table, zone) for name, table in limits.items() if table != _Person()]
    doors = [
        (name, _door(convert(value, _DoorTable, f"doors.{name}"), f"doors.{name}", groups, schedules))
        for name, value in policy.doors.items()
    ]
    return AccessRules(tuple(doors), tuple(people), Calendar(zone, holidays))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = sorted(available_timezones())
        hint = (
            did_you_mean(name, known, "IANA names are such as Europe/Berlin") if known else "install the package tzdata"
        )
        raise ConfigError(f"timezone: no time zone '{name}'; {hint}") from error


def _holiday(table: _Holiday, place: str) -> tuple[date | tuple[int, int], int | None]:
    if table.like != _CLOSED and table.like not in DAYS:
        raise ConfigError(f"{place}.like: no day '{table.like}'; {did_you_mean(table.like, [_CLOSED, *DAYS])}")
    like = None if table.like == _CLOSED else DAYS.index(table.like)
    day = table.date
    try:
        if isinstance(day, str) and len(day) == len("12-25"):
            yearly = date.fromisoformat(f"2024-{day}")  # a leap year, so that 02-29 is a day
            return (yearly.month, yearly.day), like
        day = date.fromisoformat(day) if isinstance(day, str) else day
        if not isinstance(day, date) or isinstance(day, datetime):
            raise ValueError(day)
    except ValueError as error:
        raise ConfigError(f'{place}.date: {day} is no date; write 2026-12-25, or "12-25" for every year') from error
    return day, like


def _schedule(rows: object, place: str) -> Schedule:
    week: list[tuple[TimeWindow, ...] | None] = [None] * 7
    holidays = None
    for key, value in convert(rows, dict[str, Any], place).items():
        texts = convert(value, tuple[str, ...], f"{place}.{key}")
        spans = tuple(_window(text, f"{place}.{key}[{index}]") for index, text in enumerate(texts))
        if key == _HOLIDAYS:
            holidays = spans
            continue
        for day in _weekdays(key, place):
            if week[day] is not None:
                raise ConfigError(f"{place}: '{DAYS[day]}' is given twice, the second time by '{key}'; remove one")
            week[day] = spans
    return Schedule(tuple(spans or () for spans in week), holidays)


def _weekdays(key: str, place: str) -> list[int]:
    try:
        return weekdays(key)
    except ValueError as error:
        hint = did_you_mean(str(error), [*DAYS, _HOLIDAYS])
        raise ConfigError(f"[{place}]: unknown day '{key}'; {hint} Ranges such as mon-fri are allowed, too") from error


def _window(text: str, place: str) -> TimeWindow:
    try:
        return make_window(text)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error


def _person(name: str, table: _Person, zone: tzinfo) -> PersonRules:
    place = f"people.{name}"
    start = _parse_datetime(table.valid_from, f"{place}.valid_from", zone, late=True)
    end = _parse_datetime(table.valid_until, f"{place}.valid_until", zone, late=False)
    if start is not None and end is not None and _check_order(start, end, zone):
        raise ConfigError(f"{place}: valid_until is before valid_from")
    return PersonRules(place, name, Validity(start, end))


def _parse_datetime(value: Any, place: str, zone: tzinfo, *, late: bool) -> LocalTime | None:
    """A date or datetime. If a daylight-saving change makes it ambiguous: the reading with the shorter validity."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = date.fromisoformat(value) if len(value) == len("2026-12-25") else datetime.fromisoformat(value)
        if not isinstance(value, date):
            raise ValueError(value)
        return resolve_dst(value, zone, late=late)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{place}: {value} is neither a date (2026-12-31) nor a date with a time (2026-12-31T18:00:00)"
        ) from error


def _check_order(start: LocalTime, end: LocalTime, zone: tzinfo) -> bool:
    """Whether the end is not after the start."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return start >= end
    first, last = (one.astimezone(zone).date() if isinstance(one, datetime) else one for one in (start, end))
    return first > last


def _door(
    table: _DoorTable, place: str, groups: dict[str, tuple[str, ...]], schedules: dict[str, Schedule]
) -> DoorRules:
    rules = []
    for index, allow in enumerate(table.allow):
        id_ = f"{place}.allow[{index}]"
        people = (*allow.people, *_expand_groups(allow.groups, groups, id_))
        if not allow.people and not allow.groups:
            raise ConfigError(f'{id_}: names neither people nor groups; write people = ["*"] for everybody')
        if allow.schedule is not None and allow.schedule not in schedules:
            raise ConfigError(
                f"{id_}.schedule: no schedule '{allow.schedule}'; {did_you_mean(allow.schedule, schedules)}"
            )
        schedule = schedules[allow.schedule] if allow.schedule is not None else None
        rules.append(AllowRule(id_, people, schedule, allow.liveness))
    return DoorRules(place, tuple(rules), table.threshold_factor, table.min_samples, table.liveness)


def _expand_groups(names: Iterable[str], groups: dict[str, tuple[str, ...]], place: str) -> Iterator[str]:
    for name in names:
        if name not in groups:
            raise ConfigError(f"{place}.groups: no group '{name}'; {did_you_mean(name, groups)}")
        yield from groups[name]
