"""Reason codes: a closed list, each code documented and produced, and free text of earlier versions still readable."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest
from mqtt_contract.schemas import REASONS, schema_of
from support.decisions import EVENT_ID, an_access_event
from support.mqtt_brokers import DOOR, T0_NS, an_event

from edge.core.reasons import Reason, UndecidedReason
from edge.events.factory import system_event
from edge.events.reasons import CHALLENGE_FAILURES, REASON_TEXTS, REASONS_BY_KIND, reason_sentence
from edge.events.schema import ACCESS_KINDS, DoorConnection, Event, EventKind, ReleaseReport, Status, decode, encode
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeFailure

EDGE = Path(__file__).parents[2] / "edge"
LISTS = {EDGE / "core" / "reasons.py", EDGE / "events" / "reasons.py"}
SYSTEM_KINDS = sorted(set(EventKind) - ACCESS_KINDS)


def nodes() -> list[ast.AST]:
    """Every node of the source that makes reasons: all but the two lists."""
    files = set(EDGE.rglob("*.py")) - LISTS
    return [node for file in sorted(files) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]


def members_used(enum: str) -> set[str]:
    """Names of the members of an enum that the source uses."""
    uses = [node for node in nodes() if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    return {node.attr for node in uses if isinstance(node.value, ast.Name) and node.value.id == enum}


def test_every_code_has_a_sentence_and_a_channel() -> None:
    assert set(REASON_TEXTS) == set(Reason)
    assert {code for codes in REASONS.values() for code in codes} == set(Reason)
    assert set(REASONS_BY_KIND) == set(EventKind)


def test_every_challenge_failure_is_documented_and_produced() -> None:
    listed = schema_of(Channel.CHALLENGE)["$defs"]["ChallengeFailure"]["oneOf"]
    assert {each["const"]: each["description"] for each in listed} == CHALLENGE_FAILURES
    assert set(CHALLENGE_FAILURES) == set(ChallengeFailure)
    assert members_used("ChallengeFailure") == set(ChallengeFailure.__members__)


@pytest.mark.parametrize("channel", list(REASONS))
def test_schema_lists_every_code_with_its_sentence(channel: Channel) -> None:
    listed = {each["const"]: each["description"] for each in schema_of(channel)["$defs"]["Reason"]["oneOf"]}
    assert listed == {code.value: reason_sentence(code) for code in REASONS[channel]}


def test_every_code_is_produced_somewhere() -> None:
    assert members_used("Reason") == set(Reason.__members__)


def test_events_are_made_only_in_the_factory() -> None:
    """It checks the reason; every other module gets its events from there or from `decode`."""
    makers = {
        file.relative_to(EDGE).as_posix()
        for file in EDGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event"
    }
    assert makers == {"events/factory.py"}


def test_no_code_is_written_as_text() -> None:
    """Outside the list a code is a member of the enum, so that mypy knows every use; one kind has the same name."""
    words = {node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    kinds = {str(kind) for kind in EventKind}
    assert words & {code.value for code in Reason} - kinds <= {"other", "stopped", "connected"}


@pytest.mark.parametrize("code", list(Reason))
def test_sentence_of_a_code(code: Reason) -> None:
    """One or two short sentences, each with a full stop, without the code itself."""
    text = reason_sentence(code)
    assert text.endswith(".")
    assert not text.endswith("..")
    assert all(len(sentence.split()) <= 20 for sentence in text.split(". "))
    assert "-" not in code.value or code.value not in text


@pytest.mark.parametrize(
    ("code", "detail", "text"),
    [
        ("disk-full", None, "The disk is full. Free space on the disk of the door."),
        ("disk-full", "/var", "The disk is full: /var. Free space on the disk of the door."),
        ("camera-opened", "/dev/video0", "The camera is open again: /dev/video0."),
        ("other", "the disk is full", "the disk is full."),
        ("of-a-later-version", None, "of-a-later-version."),
        ("of-a-later-version", "words.", "of-a-later-version: words."),
    ],
)
def test_sentence_with_a_detail(code: str, detail: str | None, text: str) -> None:
    assert reason_sentence(code, detail) == text


# No event leaves with another reason


@pytest.mark.parametrize("kind", SYSTEM_KINDS)
def test_system_event_takes_only_reasons_of_its_kind(kind: EventKind) -> None:
    for reason in REASONS_BY_KIND[kind]:
        assert system_event(kind, reason, id=EVENT_ID, at_ns=T0_NS, door=DOOR).reason is reason
    for reason in set(Reason) - set(REASONS_BY_KIND[kind]):
        with pytest.raises(ValueError, match=f"'{reason}' is no reason of a {kind} event"):
            system_event(kind, reason, id=EVENT_ID, at_ns=T0_NS, door=DOOR)


@pytest.mark.parametrize("reason", ["free text", "", *UndecidedReason])
def test_access_event_takes_no_reason_outside_the_list(reason: str) -> None:
    with pytest.raises(ValueError, match="not a valid Reason"):
        an_access_event(reason=reason)  # type: ignore[arg-type]


# Free text of earlier versions


def sent_by_another_version(event: Event, reason: str) -> bytes:
    """The message of an event with any reason and without a detail."""
    fields = msgspec.to_builtins(event) | {"reason": reason}
    del fields["detail"]
    return msgspec.json.encode(fields)


@pytest.mark.parametrize("event", [an_event(), an_access_event()])
def test_unlisted_reason_becomes_the_detail(event: Event) -> None:
    decoded = decode(Channel.EVENTS, sent_by_another_version(event, "camera /dev/video0"))
    assert decoded == msgspec.structs.replace(event, reason=Reason.OTHER, detail="camera /dev/video0")
    assert decode(Channel.EVENTS, encode(decoded)) == decoded


def test_last_will_of_an_earlier_version_is_a_lost_connection() -> None:
    will = b'{"v":1,"door":"front","status":"offline","reason":"the connection was lost","since":null}'
    lost = Status(v=1, door="front", status=DoorConnection.OFFLINE, reason=Reason.CONNECTION_LOST, since=None)
    assert decode(Channel.STATUS, will) == lost


def test_release_report_of_an_earlier_version_keeps_its_words() -> None:
    old = b'{"v":1,"door":"front","release":3,"applied_at":null,"ok":true,"reason":"release 3: 9 people","people":9,'
    report = decode(Channel.RELEASE, old + b'"gallery":null,"models":{}}')
    assert isinstance(report, ReleaseReport)
    assert (report.reason, report.detail) == (Reason.OTHER, "release 3: 9 people")


@pytest.mark.parametrize("reason", [b"5", b"null", b'"within-threshold"'])
def test_unlisted_reason_excuses_nothing_else(reason: bytes) -> None:
    """A message with another fault is still no message of this contract."""
    whole = encode(an_event()).replace(b'"samples":null', b'"samples":"three"')
    with pytest.raises(ValueError, match="not a version 1 message of events"):
        decode(Channel.EVENTS, whole.replace(b'"service-started"', reason))
