"""Comparison of found and expected events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.core.config import DoorConfig
from edge.core.errors import InputError
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.expected import difference_table, match_events, read_expected, write_expected
from edge.replay.replay import ReplayEvent, ReplayPerson, replay

CONFIG = DoorConfig(site="test", door="test")


@pytest.fixture(scope="module")
def lines() -> list[ReplayEvent]:
    return list(replay(CONFIG, CLIP, GALLERY))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "- 1.00 s door-open anna nothing missing"),
        ([ReplayEvent("unknown", None, 1.0)], "! 1.00 s door-open anna 1.00 s unknown - kind, person"),
        ([ReplayEvent("door-open", ReplayPerson("bert"), 1.0)], "! 1.00 s door-open anna 1.00 s door-open bert person"),
        ([ReplayEvent("door-open", ReplayPerson("anna"), 1.6)], "! 1.00 s door-open anna 1.60 s door-open anna time"),
        (
            [ReplayEvent("door-open", ReplayPerson("anna"), 1.0), ReplayEvent("unknown", None, 2.0)],
            "+ nothing 2.00 s unknown - not expected",
        ),
    ],
)
def test_differences_are_reported(found: list[ReplayEvent], told: str) -> None:
    table = difference_table(match_events([ReplayEvent("door-open", ReplayPerson("anna"), 1.0)], found))
    assert told in [" ".join(row.split()) for row in table.splitlines()]


def test_extra_event_shifts_no_other() -> None:
    """Events are matched by content, not by position."""
    anna, bert, carl = (
        ReplayEvent("door-open", ReplayPerson(name), t) for name, t in (("anna", 1.0), ("bert", 5.0), ("carl", 9.0))
    )
    pairs = match_events([anna, bert, carl], [ReplayEvent("unknown", None, 0.2), anna, bert, carl])
    assert [pair.differs for pair in pairs] == [("not expected",), (), (), ()]


def test_small_time_shift_is_tolerated() -> None:
    (pair,) = match_events([ReplayEvent("unknown", None, 1.0)], [ReplayEvent("unknown", None, 1.5)])
    assert not pair.differs


def test_recorded_events_are_expected_afterwards(lines: list[ReplayEvent], tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_expected(path, lines)
    assert read_expected(path) == lines
    with pytest.raises(InputError, match="exists; remove it first"):
        write_expected(path, lines)


def test_kind_person_and_time_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"door-open","person":{"id":"anna"},"t":1.0}\n\n{"kind":"unknown","person":null,"t":2}\n')
    assert [line.kind for line in read_expected(path)] == ["door-open", "unknown"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ""),
        ("[]", "top level: expected a table, got a list"),
        ('{"kind":"unknown"}', "top level: 'person' is missing"),
        (
            '{"kind":"door-opened"}',
            "unknown kind 'door-opened'; did you mean 'door-open'? (kinds: door-open, denied, unknown",
        ),
        ('{"kind":"opened"}', "unknown kind 'opened'; "),
        ('{"kind":"unknown","person":null,"t":"2"}', 't = "2": expected a number, got text; remove the quotes'),
    ],
)
def test_malformed_expectation_is_reported_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"unknown","person":null,"t":2}\n' + text)
    with pytest.raises(InputError, match=rf"events\.jsonl:2: not an expected event .{re.escape(told)}"):
        read_expected(path)
