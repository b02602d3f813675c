"""`edge events` for people: readable lines of every channel, in aligned columns on a terminal."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator

import msgspec
import pytest
from support.monitor_fleet import a_health, a_presence, a_release, a_status, an_event
from support.pty_stream import PtyStream

from edge.cli.message_lines import MessageFormatter
from edge.core.reasons import Reason
from edge.core.terminal import Terminal, text_width
from edge.events.schema import (
    Challenge,
    DoorConnection,
    EventKind,
    OpenCommand,
    PersonRef,
    Record,
    encode,
)
from edge.events.topics import Channel, Topics
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengeState
from edge.mqtt.subscriber import Message

ANSI = re.compile(r"\x1b\[[0-9;]*m")
AT = "2026-03-29T00:30:00.000Z"  # Berlin changes to summer time half an hour later
LATER = "2026-03-29T22:10:00.000Z"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of this machine is Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def message(record: Record, door: str = "front", site: str = "home") -> Message:
    topics = Topics(site, door)
    return Message(topics.topic_for(Channel.EVENTS), topics, Channel.EVENTS, encode(record), record, "", False)


def event(kind: EventKind = EventKind.DOOR_OPEN, name: str = "Ada Lovelace", at: str = AT, detail: str = "") -> Record:
    return msgspec.structs.replace(an_event("front", 0, kind=kind, name=name, detail=detail), at=at)


def piped(record: Record) -> str:
    (line,) = MessageFormatter(Terminal(io.StringIO())).lines(message(record))
    return line


def test_complete_line_in_a_pipe() -> None:
    """Local time with its offset, and the name before the id."""
    assert piped(event()) == (
        "2026-03-29 01:30:00+01:00  home/front        door open        Ada Lovelace, distance 0.30 of 0.93, id ada"
    )


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (event(EventKind.DENIED), "denied           Ada Lovelace, The rule for this person is not active"),
        (event(EventKind.UNKNOWN), "unknown          The face matches no enrolled person, distance 1.00"),
        (
            OpenCommand(
                v=1, id="x", seq=1, door="front", person=PersonRef(id="ada", name="Ada"), at=AT, expires_at=LATER
            ),
            "open command     Ada (ada), valid until 00:10:00",
        ),
        (a_status("front"), "online           The door is connected to the broker"),
        (a_status("front", DoorConnection.OFFLINE, Reason.STOPPED), "offline          The service of the door"),
        (a_presence("front", True), "somebody here"),
        (a_presence("front", None), "not known        the camera does not work"),
        (a_release("front", 5), "release 5        230 people, A release of people"),
        (a_health("front", 3), "health           camera working, 14.3 fps, 52 °C"),
        (
            a_health("front", 3, problems=["no frame for 12 s"]),
            "health           no frame for 12 s; camera lost, 14.3 fps, 52 °C, 3 events not delivered",
        ),
        (
            Challenge(
                v=1, door="front", id="x", at=AT, expires_at=LATER, ask=ChallengeMovement.LOOK_UP,
                state=ChallengeState.ASKED, step=1, steps=2, reason=ChallengeFailure.NONE,
            ),
            "challenge        look up, step 1 of 2",
        ),
        (
            Challenge(
                v=1, door="front", id="x", at=AT, expires_at=AT, ask=ChallengeMovement.LOOK_UP,
                state=ChallengeState.FAILED, step=1, steps=2, reason=ChallengeFailure.LEFT,
            ),
            "challenge        failed, The visitor left",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)  # fmt: skip
def test_readable_line_of_every_channel(record: Record, shown: str) -> None:
    assert shown in piped(record)


@pytest.mark.parametrize("columns", [80, 100])
def test_aligned_lines_that_never_wrap(columns: int) -> None:
    records = (
        event(),
        event(EventKind.DENIED, "李小龙 " * 20),
        event(EventKind.RELEASE_REFUSED, detail="x" * 300),
        a_health("front", 1, problems=["a long problem " * 10]),
    )
    doors = ("front", "a-door-with-a-very-long-name", "gate", "lab")
    with PtyStream(columns) as stream:
        formatter = MessageFormatter(Terminal(stream, {"TERM": "xterm"}))
        lines = [
            ANSI.sub("", line)
            for record, door in zip(records, doors, strict=True)
            for line in formatter.lines(message(record, door, "headquarters"))
        ]
    assert all(text_width(line) <= columns for line in lines)
    rows = [line for line in lines if "UTC" not in line]
    labels = [row.index(label) for row, label in zip(rows, ("door open", "denied", "release", "health"), strict=True)]
    assert len(set(labels)) == 1
    assert rows[0].startswith("01:30:00  headq")
    assert "/front" in rows[0]


def test_date_is_shown_when_it_changes() -> None:
    with PtyStream(80) as stream:
        formatter = MessageFormatter(Terminal(stream, {"TERM": "xterm", "NO_COLOR": "1"}))
        first, second, third = (formatter.lines(message(event(at=at))) for at in (AT, AT, LATER))
    assert first[0] == "Sunday 29 March 2026, UTC+01:00"
    assert len(second) == 1
    assert third[0] == "Monday 30 March 2026, UTC+02:00"
    assert third[1].startswith("00:10:00  home/front     ✓ door open")


def test_colours_and_no_foreign_control_characters() -> None:
    with PtyStream(100) as stream:
        formatter = MessageFormatter(Terminal(stream, {"TERM": "xterm"}))
        _, line = formatter.lines(message(event(EventKind.DENIED, "\x1b[2J\u202eEve", detail="\x07")))
    assert "\x1b[1;31mdenied" in line
    assert "\\u001b[2J\\u202eEve, The rule for this person" in line
    assert not {"\x07", "\u202e"} & set(line)


def test_impossible_times_are_left_out() -> None:
    for at in ("2026-99-99T99:99:99.000Z", "0001-01-01T00:00:00.000Z"):
        assert piped(event(at=at)).startswith(("-", "0001"))
