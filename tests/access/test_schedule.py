"""Weekly windows, holidays and validity dates in local time, over both daylight-saving changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.access.schedule import Calendar, Schedule, TimeWindow, Validity, make_window, resolve_dst, weekdays

BERLIN = ZoneInfo("Europe/Berlin")  # 2026: 02:00 becomes 03:00 on 29 March, 03:00 becomes 02:00 on 25 October
CAIRO = ZoneInfo("Africa/Cairo")  # 2026: 24 April begins at 01:00
HAVANA = ZoneInfo("America/Havana")  # 2026: 1 November has 00:00 to 01:00 twice
APIA = ZoneInfo("Pacific/Apia")  # 2011 had no 30 December


def daily(*spans: str) -> Schedule:
    return Schedule((tuple(map(make_window, spans)),) * 7)


def on(*days: str, spans: tuple[str, ...], holidays: tuple[str, ...] | None = None) -> Schedule:
    chosen = {number for day in days for number in weekdays(day)}
    week = tuple(tuple(map(make_window, spans)) if day in chosen else () for day in range(7))
    return Schedule(week, None if holidays is None else tuple(map(make_window, holidays)))


def ns(moment: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO time with an offset."""
    return (datetime.fromisoformat(moment) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def covers(schedule: Schedule, moment: str, calendar: Calendar) -> bool:
    return calendar.covers(schedule, calendar.local(ns(moment)))


@pytest.mark.parametrize(
    ("text", "start_min", "end_min"),
    [
        ("07:00-19:00", 420, 1140),
        ("00:00-24:00", 0, 1440),
        ("22:00-24:00", 1320, 1440),
        ("22:00-00:00", 1320, 1440),
        ("22:00-06:00", 1320, 1800),
        ("23:59-23:58", 1439, 2878),
    ],
)
def test_valid_window(text: str, start_min: int, end_min: int) -> None:
    assert make_window(text) == TimeWindow(start_min, end_min)


NO_WINDOWS = """
7-19|7:00-19:00|07:00|07:00-|07:00-24:01|24:00-06:00|07:60-08:00|07:00-07:00|00:00-00:00|25:00-26:00
07:00 - 19:00|07:00-19:00x|07:00-19:00 |\N{ARABIC-INDIC DIGIT ZERO}7:00-19:00
"""


@pytest.mark.parametrize("text", ["", "07:00-19:00\n", *NO_WINDOWS.strip("\n").replace("\n", "|").split("|")])
def test_invalid_window_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a time span|is empty|impossible time"):
        make_window(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", [0]),
        ("mon-fri", [0, 1, 2, 3, 4]),
        ("mon-sun", [0, 1, 2, 3, 4, 5, 6]),
        ("sat-mon", [5, 6, 0]),
        ("tue,thu", [1, 3]),
        ("mon-tue, sun", [0, 1, 6]),
        ("wed-wed", [2]),
    ],
)
def test_valid_days(text: str, days: list[int]) -> None:
    assert weekdays(text) == days


@pytest.mark.parametrize("text", ["", "Mon", "monday", "mon-", "mon-fri-sun", "mon,,tue", "-mon"])
def test_invalid_day_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(Mon|monday||fri-sun)$"):
        weekdays(text)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-23T06:59:59.999999+01:00", False),
        ("2026-11-23T07:00:00+01:00", True),  # the start is inside
        ("2026-11-23T18:59:59.999999+01:00", True),
        ("2026-11-23T19:00:00+01:00", False),  # the end is not
        ("2026-11-23T06:00:00+00:00", True),  # the same time in UTC
        ("2026-07-20T05:00:00+00:00", True),  # in summer 07:00 comes an hour earlier
        ("2026-07-20T04:59:59+00:00", False),
        ("2026-11-27T12:00:00+01:00", True),  # Friday
        ("2026-11-28T12:00:00+01:00", False),  # Saturday
        ("2028-02-29T12:00:00+01:00", True),  # a leap day, a Tuesday
    ],
)
def test_office_hours_in_local_time(moment: str, inside: bool) -> None:
    office = on("mon-fri", spans=("07:00-19:00",))
    assert covers(office, moment, Calendar(BERLIN)) is inside


@pytest.mark.parametrize(
    ("spans", "moment", "inside"),
    [
        # spring: 01:59:59+01:00 is followed by 03:00:00+02:00
        (("01:30-02:30",), "2026-03-29T01:30+01:00", True),
        (("01:30-02:30",), "2026-03-29T01:59:59+01:00", True),
        (("01:30-02:30",), "2026-03-29T03:00+02:00", False),
        (("02:00-03:00",), "2026-03-29T01:59:59+01:00", False),
        (("02:00-03:00",), "2026-03-29T03:00+02:00", False),
        (("02:30-03:30",), "2026-03-29T03:00+02:00", True),
        (("02:30-03:30",), "2026-03-29T03:30+02:00", False),
        (("22:00-06:00",), "2026-03-29T03:00+02:00", True),
        (("22:00-06:00",), "2026-03-29T05:59+02:00", True),
        (("22:00-06:00",), "2026-03-29T06:00+02:00", False),
        # autumn: 02:59:59+02:00 is followed by 02:00:00+01:00
        (("02:00-03:00",), "2026-10-25T01:59:59+02:00", False),
        (("02:00-03:00",), "2026-10-25T02:30+02:00", True),
        (("02:00-03:00",), "2026-10-25T02:30+01:00", True),
        (("02:00-03:00",), "2026-10-25T03:00+01:00", False),
        (("01:00-02:30",), "2026-10-25T02:29+02:00", True),
        (("01:00-02:30",), "2026-10-25T02:30+02:00", False),
        (("01:00-02:30",), "2026-10-25T02:29+01:00", True),
        (("22:00-06:00",), "2026-10-25T02:30+01:00", True),
        (("22:00-06:00",), "2026-10-25T06:00+01:00", False),
        # the ends of a day
        (("22:00-24:00",), "2026-11-23T23:59:59+01:00", True),
        (("22:00-24:00",), "2026-11-24T00:00+01:00", False),
        (("00:00-24:00",), "2026-11-24T00:00+01:00", True),
        (("08:00-12:00", "13:00-17:00"), "2026-11-24T12:30+01:00", False),
        (("08:00-12:00", "13:00-17:00"), "2026-11-24T13:00+01:00", True),
        ((), "2026-11-24T13:00+01:00", False),
    ],
)
def test_windows_over_daylight_saving_changes_and_midnight(spans: tuple[str, ...], moment: str, inside: bool) -> None:
    assert covers(daily(*spans), moment, Calendar(BERLIN)) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-27T21:59+01:00", False),  # Friday
        ("2026-11-27T22:00+01:00", True),
        ("2026-11-28T05:59+01:00", True),  # Saturday, but Friday's window
        ("2026-11-28T06:00+01:00", False),
        ("2026-11-28T22:00+01:00", False),  # Saturday has none of its own
        ("2026-11-27T05:00+01:00", False),  # Thursday had none
    ],
)
def test_window_across_midnight_belongs_to_its_first_day(moment: str, inside: bool) -> None:
    assert covers(on("fri", spans=("22:00-06:00",)), moment, Calendar(BERLIN)) is inside


CHRISTMAS: dict[date | tuple[int, int], int | None] = {
    (12, 25): None,
    date(2026, 12, 24): 5,
    (2, 29): None,
    date(2027, 12, 25): 0,
}


@pytest.mark.parametrize(
    ("schedule", "moment", "inside"),
    [
        # 24 and 25 December 2026 are a Thursday and a Friday
        (on("mon-fri", spans=("07:00-19:00",)), "2026-12-23T12:00+01:00", True),
        (on("mon-fri", spans=("07:00-19:00",)), "2026-12-24T12:00+01:00", False),  # counts as a Saturday
        (on("sat", spans=("07:00-19:00",)), "2026-12-24T12:00+01:00", True),
        (on("mon-fri", spans=("07:00-19:00",)), "2026-12-25T12:00+01:00", False),
        (on("mon-sun", spans=("07:00-19:00",)), "2028-12-25T12:00+01:00", False),  # every year
        (on("mon", spans=("07:00-19:00",)), "2027-12-25T12:00+01:00", True),  # a date goes before a month and day
        (on("mon-fri", spans=("07:00-19:00",), holidays=("10:00-12:00",)), "2026-12-25T11:00+01:00", True),
        (on("mon-fri", spans=("07:00-19:00",), holidays=("10:00-12:00",)), "2026-12-24T11:00+01:00", True),
        (on("mon-fri", spans=("07:00-19:00",), holidays=("10:00-12:00",)), "2026-12-25T12:00+01:00", False),
        (on("mon-sun", spans=("07:00-19:00",), holidays=()), "2026-12-24T11:00+01:00", False),
        (on("mon-sun", spans=("22:00-06:00",)), "2026-12-25T05:59+01:00", True),  # the eve's window goes on
        (on("mon-sun", spans=("22:00-06:00",)), "2026-12-25T22:00+01:00", False),
        (on("mon-sun", spans=("22:00-06:00",)), "2026-12-26T05:00+01:00", False),  # none began on the holiday
        (on("mon-sun", spans=("07:00-19:00",)), "2028-02-29T12:00+01:00", False),
        (on("mon-sun", spans=("07:00-19:00",)), "2027-02-28T12:00+01:00", True),
        (on("mon-sun", spans=("07:00-19:00",)), "2027-03-01T12:00+01:00", True),
    ],
)
def test_holidays_before_weekdays(schedule: Schedule, moment: str, inside: bool) -> None:
    assert covers(schedule, moment, Calendar(BERLIN, CHRISTMAS)) is inside


@pytest.mark.parametrize(
    ("validity", "moment", "refusal"),
    [
        (Validity(), "2026-06-01T00:00+02:00", None),
        (Validity(start=date(2026, 6, 1)), "2026-05-31T23:59:59+02:00", "not-yet-valid"),
        (Validity(start=date(2026, 6, 1)), "2026-06-01T00:00+02:00", None),
        (Validity(end=date(2026, 6, 1)), "2026-06-01T23:59:59.999999+02:00", None),
        (Validity(end=date(2026, 6, 1)), "2026-06-02T00:00+02:00", "no-longer-valid"),
        (Validity(date(2028, 2, 29), date(2028, 2, 29)), "2028-02-28T23:59+01:00", "not-yet-valid"),
        (Validity(date(2028, 2, 29), date(2028, 2, 29)), "2028-02-29T12:00+01:00", None),
        (Validity(date(2028, 2, 29), date(2028, 2, 29)), "2028-03-01T00:00+01:00", "no-longer-valid"),
        (Validity(start=datetime(2026, 6, 1, 10, tzinfo=UTC)), "2026-06-01T11:59:59+02:00", "not-yet-valid"),
        (Validity(start=datetime(2026, 6, 1, 10, tzinfo=UTC)), "2026-06-01T12:00+02:00", None),
        (Validity(end=datetime(2026, 6, 1, 10, tzinfo=UTC)), "2026-06-01T11:59:59.999999+02:00", None),
        (Validity(end=datetime(2026, 6, 1, 10, tzinfo=UTC)), "2026-06-01T12:00+02:00", "no-longer-valid"),
    ],
)
def test_validity_from_first_to_last_moment(validity: Validity, moment: str, refusal: str) -> None:
    assert validity.refusal_reason(Calendar(BERLIN).local(ns(moment))) == refusal


@pytest.mark.parametrize(
    ("local", "late", "meant"),
    [
        ("2026-06-01T18:00", True, "2026-06-01T18:00+02:00"),
        ("2026-06-01T18:00", False, "2026-06-01T18:00+02:00"),
        ("2026-10-25T02:30", True, "2026-10-25T02:30+01:00"),  # occurs twice: a start is the second
        ("2026-10-25T02:30", False, "2026-10-25T02:30+02:00"),  # an end is the first
        ("2026-03-29T02:30", True, "2026-03-29T03:30+02:00"),  # does not occur
        ("2026-03-29T02:30", False, "2026-03-29T01:30+01:00"),
        ("2026-06-01T18:00+00:00", True, "2026-06-01T20:00+02:00"),
    ],
)
def test_ambiguous_local_time_shortens_validity(local: str, late: bool, meant: str) -> None:
    assert resolve_dst(datetime.fromisoformat(local), BERLIN, late=late) == datetime.fromisoformat(meant)


@pytest.mark.parametrize(
    ("zone", "moment", "inside"),
    [
        (CAIRO, "2026-04-23T23:59:59+02:00", False),
        (CAIRO, "2026-04-24T01:00+03:00", True),  # the first moment of that day
        (HAVANA, "2026-10-31T23:59:59-04:00", False),
        (HAVANA, "2026-11-01T00:00-04:00", True),
        (HAVANA, "2026-11-01T00:00-05:00", True),
        (APIA, "2011-12-29T23:59:59-10:00", False),
        (APIA, "2011-12-31T00:00+14:00", True),
    ],
)
def test_days_with_a_skipped_or_repeated_midnight(zone: ZoneInfo, moment: str, inside: bool) -> None:
    """A date as `start` holds from the first moment of that day, or of the next day that exists."""
    dates = {CAIRO: date(2026, 4, 24), HAVANA: date(2026, 11, 1), APIA: date(2011, 12, 30)}
    assert (Validity(start=dates[zone]).refusal_reason(Calendar(zone).local(ns(moment))) is None) is inside


MINUTES = st.integers(0, 1439)


@given(MINUTES, st.integers(0, 1440), st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)))
def test_daily_window_depends_only_on_local_time(start: int, end: int, utc: datetime) -> None:
    """On every day of the year, compared with the digits of the local clock."""
    if start == end or (start, end) == (0, 0):
        return
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    local = utc.replace(tzinfo=UTC).astimezone(BERLIN)
    digits = local.strftime("%H:%M")
    begins, ends = text.split("-")
    expected = begins <= digits < ends if begins < ends else digits >= begins or digits < ends
    assert covers(daily(text), utc.replace(tzinfo=UTC).isoformat(), Calendar(BERLIN)) is expected
