"""Access rules: who passes which door at which time, the deciding rule, and errors of policy.toml."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.face_images import direction, track

from edge.access.model import AccessRules, AllowRule, DoorRules, PersonRules, allow_list, default_rules
from edge.access.policy import Policy
from edge.access.policy_file import load_configured_rules, parse_policy
from edge.access.schedule import Calendar, Schedule, TimeWindow, Validity
from edge.cli.main import main
from edge.core.clock import SYSTEM_CLOCK, WallClock
from edge.core.config import AccessConfig, DoorConfig, RecognitionConfig
from edge.core.errors import ConfigError
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision, Identification, LivenessMode, Match, Person, Verdict
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.replay import replay

ROOT = Path(__file__).parents[2]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def verdict(finding: Identification, person: str | None = "staff-anna") -> Verdict:
    known = None if person is None else Person(person, person.title())
    return Verdict(finding, track(), Match(known, 0.5, 1.0, 2.0), direction(0), 3, 1.0, Reason.WITHIN_THRESHOLD, 7)


def ns(moment: str | datetime) -> int:
    """Nanoseconds since 1970 UTC of an ISO time with an offset."""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (when - EPOCH) // timedelta(microseconds=1) * 1000


def decide(rules: AccessRules, person: str, moment: str | None = None, door: str = "front") -> Decision:
    wall_ns = None if moment is None else ns(moment)
    return Policy(rules, door).decide(verdict(Identification.RECOGNISED, person), 9, wall_ns)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


@pytest.mark.parametrize(
    ("allow", "kind", "rule", "reason"),
    [
        (("*",), AccessOutcome.DOOR_OPEN, "allow *", None),
        (("guest-*", "staff-*"), AccessOutcome.DOOR_OPEN, "allow staff-*", None),
        (("staff-anna",), AccessOutcome.DOOR_OPEN, "allow staff-anna", None),
        (("guest-*",), AccessOutcome.DENIED, "not-in-allow", "no-rule-for-this-person"),
        (("Staff-Anna",), AccessOutcome.DENIED, "not-in-allow", "no-rule-for-this-person"),
        ((), AccessOutcome.DENIED, "not-in-allow", "no-rule-for-this-person"),
    ],
)
def test_list_of_names_without_a_clock(allow: tuple[str, ...], kind: AccessOutcome, rule: str, reason: str) -> None:
    decision = decide(allow_list(allow), "staff-anna")
    assert (decision.kind, decision.rule, decision.reason, decision.t_ns) == (kind, rule, reason, 9)


def test_unknown_visitor_never_passes() -> None:
    policy = Policy(allow_list(["*"]), "front")
    for seen in (
        verdict(Identification.UNKNOWN),
        verdict(Identification.UNDECIDED),
        verdict(Identification.RECOGNISED, None),
    ):
        assert policy.decide(seen, 9, 0).kind is AccessOutcome.UNKNOWN


def test_everybody_passes_without_access_settings() -> None:
    assert decide(load_configured_rules(AccessConfig()), "anybody").kind is AccessOutcome.DOOR_OPEN


OFFICE = """
timezone = "Europe/Berlin"

[groups]
staff = ["anna", "bert", "staff-*"]
nobody = []

[schedules.office]
mon-fri = ["07:00-19:00"]
[schedules.late]
mon-fri = ["18:00-22:00"]

[[holidays]]
date = 2026-12-25
[[holidays]]
date = "01-01"
like = "sat"

[people.bert]
valid_from = 2026-02-01
valid_until = "2026-12-31"
[people."staff-*"]
valid_until = "2026-12-31T18:00"
[people.both]
valid_from = 2026-03-01
[people."bot*"]
valid_until = 2026-03-31
[people.carla]

[doors.front]
allow = [
    { groups = ["staff"], schedule = "office" },
    { people = ["anna"], schedule = "late" },
    { people = ["carla", "both"], groups = ["nobody"] },
]
[doors."lab-*"]
allow = [{ people = ["*"], schedule = "office" }]
threshold_factor = 0.9
min_samples = 5
[doors.lab-2]
"""
NOON = "2026-11-23T12:00+01:00"  # a Monday
LATE = "2026-11-23T21:00+01:00"
FRONT = "doors.front.allow"
NO_RULE = "no-rule-for-this-person"


@pytest.mark.parametrize(
    ("person", "door", "moment", "rule", "reason"),
    [
        ("anna", "front", NOON, f"{FRONT}[0]", None),
        ("anna", "front", LATE, f"{FRONT}[1]", None),  # the second rule lets her pass
        ("anna", "front", "2026-11-23T05:00+01:00", f"{FRONT}[0]", "outside-schedule"),
        ("anna", "front", "2026-11-22T12:00+01:00", f"{FRONT}[0]", "outside-schedule"),  # Sunday
        ("anna", "front", "2026-12-25T12:00+01:00", f"{FRONT}[0]", "outside-schedule"),  # holiday
        ("anna", "front", "2027-01-01T12:00+01:00", f"{FRONT}[0]", "outside-schedule"),  # counts as a Saturday
        ("anna", "front", None, f"{FRONT}[0]", "clock-not-set"),
        ("bert", "front", NOON, f"{FRONT}[0]", None),
        ("bert", "front", LATE, f"{FRONT}[0]", "outside-schedule"),
        ("bert", "front", "2026-01-30T12:00+01:00", "people.bert", "not-yet-valid"),
        ("bert", "front", "2026-12-31T12:00+01:00", f"{FRONT}[0]", None),
        ("bert", "front", "2027-01-04T12:00+01:00", "people.bert", "no-longer-valid"),
        ("bert", "front", None, "people.bert", "clock-not-set"),
        ("staff-eve", "front", "2026-12-31T17:59+01:00", f"{FRONT}[0]", None),
        ("staff-eve", "front", "2026-12-31T18:00+01:00", "people.staff-*", "no-longer-valid"),
        ("both", "front", "2026-02-28T12:00+01:00", "people.both", "not-yet-valid"),
        ("both", "front", "2026-03-31T23:59+02:00", f"{FRONT}[2]", None),
        ("both", "front", "2026-04-01T00:00+02:00", "people.bot*", "no-longer-valid"),
        ("carla", "front", "2026-11-22T03:00+01:00", f"{FRONT}[2]", None),
        ("carla", "front", None, f"{FRONT}[2]", None),  # no times, no clock needed
        ("dora", "front", NOON, "doors.front", NO_RULE),
        ("dora", "front", None, "doors.front", NO_RULE),
        ("Anna", "front", NOON, "doors.front", NO_RULE),
        ("dora", "lab-1", NOON, "doors.lab-*.allow[0]", None),
        ("dora", "lab-2", NOON, "doors.lab-2", NO_RULE),  # the exact name goes before the pattern
        ("anna", "back", NOON, "no-table-for-this-door", NO_RULE),
    ],
)
def test_deciding_rule_and_reason(
    written: Path, person: str, door: str, moment: str | None, rule: str, reason: str
) -> None:
    written.write_text(OFFICE)
    decision = decide(parse_policy(written), person, moment, door)
    assert (decision.rule, decision.reason) == (rule, reason)
    assert decision.kind is (AccessOutcome.DENIED if reason else AccessOutcome.DOOR_OPEN)


def test_settings_of_a_door_in_its_rules(written: Path) -> None:
    """The factor of a door multiplies that of door.toml; other doors keep the settings of door.toml."""
    written.write_text(OFFICE)
    own = RecognitionConfig(threshold_factor=0.8, min_samples=3)
    rules = parse_policy(written)
    strict = Policy(rules, "lab-1").apply_to(own)
    assert strict.threshold_factor == pytest.approx(0.72)
    assert strict.min_samples == 5
    assert Policy(rules, "front").apply_to(own) == own


def test_shipped_example_is_valid() -> None:
    rules = parse_policy(ROOT / "systemd" / "policy.toml")
    assert decide(rules, "anna", NOON).kind is AccessOutcome.DOOR_OPEN
    assert decide(rules, "anna", "2026-11-23T12:45+01:00").reason == "outside-schedule"
    assert decide(rules, "carla", "2026-12-25T12:00+01:00").kind is AccessOutcome.DOOR_OPEN
    assert decide(rules, "bert", "2027-01-05T12:00+01:00").reason == "no-longer-valid"
    assert decide(rules, "bert", NOON, "vault").reason == NO_RULE


def test_empty_policy_lets_nobody_pass(written: Path) -> None:
    written.write_text("")
    assert decide(parse_policy(written), "anna", NOON).kind is AccessOutcome.DENIED


def test_policy_and_allow_exclude_each_other(written: Path) -> None:
    written.write_text(OFFICE)
    assert load_configured_rules(AccessConfig(policy=str(written))) == parse_policy(written)
    with pytest.raises(ConfigError, match="exclude each other"):
        load_configured_rules(AccessConfig(policy=str(written), allow=("*",)))
    with pytest.raises(ConfigError, match="has not been read"):
        default_rules(AccessConfig(policy=str(written)))


ZONE = "timezone = 'UTC'\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("timzone = 'UTC'", "top level: unknown key 'timzone'; did you mean 'timezone'?"),
        ("timezone = 'Europe/Berln'", "timezone: no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"),
        ("timezone = '../../etc/passwd'", "timezone: no time zone '../../etc/passwd'"),
        ("timezone = 'Europe'", "timezone: no time zone 'Europe'"),
        ("timezone = ''", "timezone: must not be empty"),
        ("[schedules.a]", "top level: 'timezone' is missing"),
        ("groups = ['anna']", "groups: expected a table, got a list"),
        ("[groups]\nstaff = 'anna'", "groups.staff: expected a list, got text; put it in brackets"),
        ("[groups]\nstaff = [1]", "groups.staff[0] = 1: expected text, got a number; put it in quotes"),
        (ZONE + "[schedules.a]\nmon = ['7-19']", "schedules.a.mon[0]: '7-19' is not a time span"),
        (ZONE + "[schedules.a]\nmon = [7]", "schedules.a.mon[0] = 7: expected text, got a number; put it in quotes"),
        (ZONE + "[schedules.a]\nmon = ['07:00-24:30']", "schedules.a.mon[0]: '07:00-24:30' has an impossible time"),
        (ZONE + "[schedules.a]\nmon = '07:00-19:00'", "schedules.a.mon: expected a list, got text; put it in brackets"),
        (ZONE + "[schedules.a]\nmno = []", "[schedules.a]: unknown day 'mno'; did you mean 'mon'?"),
        (ZONE + "[schedules.a]\nholiday = []", "[schedules.a]: unknown day 'holiday'; did you mean 'holidays'?"),
        (ZONE + "[schedules.a]\nmon-fri = []\nfri = []", "schedules.a: 'fri' is given twice, the second time by 'fri'"),
        (ZONE + "schedules.a = 1", "schedules.a = 1: expected a table, got a number"),
        ("[[holidays]]\ndate = '2026-02-29'", "holidays[0].date: 2026-02-29 is no date"),
        ("[[holidays]]\ndate = '13-01'", "holidays[0].date: 13-01 is no date"),
        ("[[holidays]]\ndate = 2026-12-25T10:00:00", "holidays[0].date: 2026-12-25 10:00:00 is no date"),
        ("[[holidays]]\ndate = '12-25'\nlike = 'sunday'", "holidays[0].like: no day 'sunday'; did you mean 'sun'?"),
        ("[[holidays]]\nlike = 'sun'", "[holidays[0]]: 'date' is missing"),
        ("[[holidays]]\ndat = '12-25'", "[holidays[0]]: unknown key 'dat'; did you mean 'date'?"),
        (ZONE + "[people.anna]\nvalid_form = 1", "[people.anna]: unknown key 'valid_form'; did you mean 'valid_from'?"),
        (ZONE + "[people.anna]\nvalid_from = 1", "people.anna.valid_from: 1 is neither a date"),
        (ZONE + "[people.anna]\nvalid_until = 'soon'", "people.anna.valid_until: soon is neither a date"),
        (ZONE + "[people.a]\nvalid_from = 07:00:00", "people.a.valid_from: 07:00:00 is neither a date"),
        (ZONE + "[people.a]\nvalid_from = 2026-02-01\nvalid_until = 2026-01-31", "people.a: valid_until is before"),
        (
            ZONE + "[people.a]\nvalid_from = 2026-02-01T10:00:00Z\nvalid_until = '2026-02-01T10:00'",
            "people.a: valid_until is before",
        ),
        ("[people.anna]\nvalid_from = 2026-01-01", "top level: 'timezone' is missing"),
        ("doors.front = []", "doors.front: expected a table, got a list"),
        ("[doors.front]\nalow = []", "[doors.front]: unknown key 'alow'; did you mean 'allow'?"),
        ("[doors.front]\nallow = [{}]", "doors.front.allow[0]: names neither people nor groups"),
        ("[doors.front]\nallow = ['anna']", "doors.front.allow[0]: expected a table, got text"),
        (
            "[doors.front]\nallow = [{people=['a']}, {poeple=['b']}]",
            "[doors.front.allow[1]]: unknown key 'poeple'; did you mean 'people'?",
        ),
        (
            "groups.staff = []\n[doors.front]\nallow = [{groups=['stuff']}]",
            "doors.front.allow[0].groups: no group 'stuff'; did you mean 'staff'?",
        ),
        (
            "[doors.front]\nallow = [{people=['a'], schedule='office'}]",
            "doors.front.allow[0].schedule: no schedule 'office'; there are none",
        ),
        (
            ZONE + "[schedules.office]\n[doors.front]\nallow = [{people=['a'], schedule='ofice'}]",
            "doors.front.allow[0].schedule: no schedule 'ofice'; did you mean 'office'?",
        ),
        ("[doors.front]\nthreshold_factor = 0", "doors.front.threshold_factor = 0: allowed 0 to 2, not 0 itself"),
        ("[doors.front]\nthreshold_factor = nan", "doors.front.threshold_factor = nan: allowed 0 to 2"),
        ("[doors.front]\nthreshold_factor = 2.1", "doors.front.threshold_factor = 2.1: allowed 0 to 2"),
        ("[doors.front]\nmin_samples = 0", "doors.front.min_samples = 0: must be at least 1"),
        ("doors", "not valid TOML"),
    ],
)
def test_error_names_place_and_remedy(written: Path, text: str, told: str) -> None:
    written.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_policy(written)
    message = str(caught.value)
    assert message.startswith(f"{written}: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("start", "end", "at", "kind"),
    [
        ("2026-02-01", "2026-02-01", "2026-02-01T12:00+01:00", AccessOutcome.DOOR_OPEN),
        ("2026-02-01", "2026-02-01", "2026-02-02T00:00+01:00", AccessOutcome.DENIED),
        ("2026-02-01T10:00:00", "2026-02-01", "2026-02-01T12:00+01:00", AccessOutcome.DOOR_OPEN),
        ("2026-02-01T10:00:00", "2026-02-01", "2026-02-01T09:59+01:00", AccessOutcome.DENIED),
        ("2026-02-01", "2026-02-01T10:00:00", "2026-02-01T09:59+01:00", AccessOutcome.DOOR_OPEN),
        ("2026-02-01", "2026-02-01T10:00:00", "2026-02-01T10:00+01:00", AccessOutcome.DENIED),
    ],
)
def test_validity_of_a_single_day(written: Path, start: str, end: str, at: str, kind: AccessOutcome) -> None:
    """Dates and times may be mixed, and the first and last day may be the same."""
    written.write_text(
        f"timezone = 'Europe/Berlin'\n[people.anna]\nvalid_from = {start}\nvalid_until = {end}\n"
        "[doors.front]\nallow = [{ people = ['anna'] }]\n"
    )
    assert decide(parse_policy(written), "anna", at).kind is kind


def test_missing_policy_is_named(written: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.toml: cannot be read"):
        load_configured_rules(AccessConfig(policy=str(written)))


def test_valid_until_the_last_day_of_time(written: Path) -> None:
    written.write_text(
        ZONE + "[people.a]\nvalid_from = 1970-01-01\nvalid_until = 9999-12-31\n[doors.front]\n"
        "allow = [{people = ['a']}]"
    )
    assert decide(parse_policy(written), "a", NOON).kind is AccessOutcome.DOOR_OPEN


def test_replay_at_a_time_of_day(written: Path) -> None:
    """Inside and outside a window, and without a clock. Denied events name the person and the rule."""
    written.write_text(
        "timezone = 'Europe/Berlin'\nschedules.day.mon-sun = ['02:00-19:00']\n"
        "[doors.test]\nallow = [{people = ['*'], schedule = 'day'}]\nthreshold_factor = 0.5\nmin_samples = 6"
    )
    config = DoorConfig(site="test", door="test", access=AccessConfig(policy=str(written)))
    seen = []
    for moment in ("2026-03-29T01:59:59+01:00", "2026-03-29T01:59:00+01:00", None):
        at_ns = None if moment is None else ns(moment)
        first = next(iter(replay(config, CLIP, GALLERY, at_ns=at_ns)))
        assert first.person is not None
        seen.append((first.kind, first.rule, first.reason))
    plain = next(iter(replay(DoorConfig(site="test", door="test"), CLIP, GALLERY)))
    assert first.samples == 6
    assert first.threshold_sq == pytest.approx(plain.threshold_sq / 2, abs=1e-3)
    rule = "doors.test.allow[0]"
    assert seen == [
        ("door-open", rule, "within-threshold"),  # the clock jumps to 03:00 within the clip
        ("denied", rule, "outside-schedule"),
        ("denied", rule, "clock-not-set"),
    ]


def test_waiting_visitor_passes_when_the_window_opens(written: Path) -> None:
    """Denied on arrival, just before the window, and admitted after new samples without leaving the door."""
    written.write_text(
        "timezone = 'UTC'\nschedules.day.mon-sun = ['07:00-19:00']\n"
        "[doors.test]\nallow = [{people = ['*'], schedule = 'day'}]"
    )
    config = DoorConfig(site="test", door="test", access=AccessConfig(policy=str(written)))
    lines = list(replay(config, CLIP, GALLERY, at_ns=ns("2026-11-23T06:59:58+00:00")))
    known = [(line.kind, line.reason) for line in lines if line.person]
    assert known == [("denied", "outside-schedule"), ("door-open", "within-threshold")]
    assert lines[0].t < 2.0
    assert lines[1].t == pytest.approx(2.3, abs=0.15)
    assert lines[1].samples == 3


@pytest.mark.parametrize("text", ["noon", "2026-03-29T01:30", "2026-03-29", "0001-01-01T00:00Z", "9999-12-31T23:59Z"])
def test_impossible_start_time_of_a_replay(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["edge", "replay", str(CLIP), "--gallery", str(GALLERY), "--at", text])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert f"argument --at: '{text}'" in capsys.readouterr().err


def test_trusted_clock_counts_as_set() -> None:
    offset_ns = WallClock(SYSTEM_CLOCK, trusted=True).wall_minus_monotonic_ns()
    assert offset_ns is not None
    assert abs(time.time_ns() - time.monotonic_ns() - offset_ns) < 1_000_000_000


MORNING = TimeWindow(6 * 60, 12 * 60)
BY_HOURS = AccessRules(
    (
        (
            "front",
            DoorRules(
                "t",
                (
                    AllowRule("mornings", ("anna", "staff-[12]"), Schedule(((MORNING,),) * 7, None)),
                    AllowRule("watched", ("anna", "guest-?"), None, LivenessMode.CHALLENGE),
                ),
            ),
        ),
    ),
    (),
    Calendar(UTC, {}),
)


def test_people_named_by_the_rules_of_a_door() -> None:
    """By id and by pattern, at any time."""
    policy = Policy(BY_HOURS, "front")
    people = ["anna", "bert", "guest-1", "guest-12", "staff-1", "staff-3"]
    assert [person for person in people if policy.names(person)] == ["anna", "guest-1", "staff-1"]
    assert policy.people_per_rule(iter(people)) == {"mornings": 2, "watched": 2}


def test_liveness_required_by_the_rules_that_hold_now() -> None:
    """A rule outside its schedule requires nothing; while the clock is not set, every rule counts."""
    night = AllowRule("nights", ("anna",), Schedule(((TimeWindow(0, 6 * 60),),) * 7, None), LivenessMode.CHALLENGE)
    always = AllowRule("always", ("anna",), None, LivenessMode.PASSIVE)
    rules = AccessRules((("front", DoorRules("t", (night, always))),), (), Calendar(UTC, {}))
    moments = ("2026-05-01T03:00+00:00", "2026-05-01T12:00+00:00", None)
    assert [decide(rules, "anna", moment).required_liveness for moment in moments] == [
        LivenessMode.CHALLENGE,
        LivenessMode.PASSIVE,
        LivenessMode.CHALLENGE,
    ]


# Properties, on made-up policies.
IDS = st.sampled_from(["anna", "bert", "carla", "staff-1", "staff-2"])
PATTERNS = st.sampled_from(["anna", "bert", "staff-*", "*a", "c*"])
DOORS = st.sampled_from(["front", "lab-1", "lab-2"])
WINDOWS = st.builds(lambda start, length: TimeWindow(start, start + length), st.integers(0, 1439), st.integers(1, 1440))
SCHEDULES = st.builds(
    Schedule,
    st.tuples(*[st.lists(WINDOWS, max_size=2).map(tuple)] * 7),
    st.none() | st.lists(WINDOWS, max_size=1).map(tuple),
)
RULES = st.builds(AllowRule, st.uuids().map(str), st.lists(PATTERNS, max_size=2).map(tuple), st.none() | SCHEDULES)
TABLES = st.builds(DoorRules, st.uuids().map(str), st.lists(RULES, max_size=3).map(tuple))
DATES = st.dates(datetime(2026, 1, 1).date(), datetime(2026, 12, 31).date())
LIMITS = st.builds(PersonRules, st.just("p"), PATTERNS, st.builds(Validity, st.none() | DATES, st.none() | DATES))
POLICIES = st.builds(
    AccessRules,
    st.lists(st.tuples(st.sampled_from(["front", "lab-*", "lab-1"]), TABLES), max_size=3).map(tuple),
    st.lists(LIMITS, max_size=2).map(tuple),
    st.builds(Calendar, st.just(UTC), st.dictionaries(DATES, st.none() | st.integers(0, 6), max_size=3)),
)
MOMENTS = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(lambda t: t.replace(tzinfo=UTC))


def answer(rules: AccessRules, person: str, door: str, moment: datetime | None) -> Decision:
    wall_ns = None if moment is None else ns(moment)
    return Policy(rules, door).decide(verdict(Identification.RECOGNISED, person), 9, wall_ns)


@given(POLICIES, IDS, DOORS, MOMENTS)
def test_door_opens_only_by_an_active_rule(rules: AccessRules, person: str, door: str, moment: datetime | None) -> None:
    """An open decision has an active rule of this door for this person; every other decision has a reason."""
    decision = answer(rules, person, door, moment)
    by_id = {rule.id: rule for _, table in rules.doors for rule in table.allow}
    if decision.kind is not AccessOutcome.DOOR_OPEN:
        assert decision.kind is AccessOutcome.DENIED
        assert decision.reason
        return
    rule = by_id[decision.rule]
    assert rule in rules.door(door).allow
    assert any(fnmatchcase(person, pattern) for pattern in rule.people)
    if rule.schedule is not None:
        assert moment is not None
        assert rules.calendar.covers(rule.schedule, moment)
    for limits in rules.people:
        if fnmatchcase(person, limits.person):
            assert moment is not None
            assert limits.validity.refusal_reason(moment) is None


@given(POLICIES, RULES, IDS, DOORS, MOMENTS)
def test_added_rule_affects_only_its_people(
    rules: AccessRules, added: AllowRule, person: str, door: str, moment: datetime | None
) -> None:
    """More people in the policy never admit anyone whom the new rule does not name."""
    if any(fnmatchcase(person, pattern) for pattern in added.people):
        return
    tables = [(name, DoorRules(table.id, (added, *table.allow))) for name, table in rules.doors]
    before = answer(rules, person, door, moment)
    after = answer(AccessRules(tuple(tables), rules.people, rules.calendar), person, door, moment)
    assert (before.kind, before.rule, before.reason) == (after.kind, after.rule, after.reason)


ANNA_AT_FRONT = (("front", DoorRules("t", (AllowRule("r", ("anna",)),))),)
NEVER = (("front", DoorRules("t", (AllowRule("r", ("anna",), Schedule(((),) * 7, None)),))),)
HAS_LEFT = (PersonRules("p", "anna", Validity(None, datetime(2026, 1, 1).date())),)


@given(POLICIES, IDS, DOORS, MOMENTS)
@example(AccessRules(NEVER, (), Calendar(UTC, {})), "anna", "front", datetime(2026, 5, 1, tzinfo=UTC))
@example(AccessRules(ANNA_AT_FRONT, HAS_LEFT, Calendar(UTC, {})), "anna", "front", datetime(2026, 5, 1, tzinfo=UTC))
def test_missing_clock_never_opens_more(rules: AccessRules, person: str, door: str, moment: datetime | None) -> None:
    if answer(rules, person, door, None).kind is AccessOutcome.DOOR_OPEN:
        assert answer(rules, person, door, moment).kind is AccessOutcome.DOOR_OPEN
