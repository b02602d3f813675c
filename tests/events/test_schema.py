"""The wire records: what they say, what they never say, and their ids."""

from __future__ import annotations

import json
import re
import uuid

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.example_house import examples
from support.mqtt_brokers import DOOR, T0_NS, an_event

from edge.core.records import AccessOutcome, Box, Decision, Face, Identification, Match, Person, Track, Verdict
from edge.core.timestamps import format_unix_ns
from edge.core.uuid7 import RANDOM_TAIL_BITS, Uuid7Source, uuid7
from edge.events.factory import access_event, make_open_command, system_event
from edge.events.schema import (
    VERSION,
    BoxPx,
    Challenge,
    Event,
    EventKind,
    PersonRef,
    Record,
    Rfc3339,
    decode,
    encode,
    schemas,
)
from edge.events.topics import DELIVERY_TERMS, Channel, Topics
from edge.liveness.prompts import ChallengeMovement, ChallengeState

ID = "018bcfe5-687b-7abc-8def-0123456789ab"
ADA = Person("ada", "Ada Lovelace")


def a_decision(kind: AccessOutcome, finding: Identification) -> Decision:
    """A decision whose nearest person is Ada, whatever it says."""
    face = Face(Box(10.4, 20.6, 110.5, 140.0), np.zeros((6, 2), np.float32), 0.9)
    track = Track(3, face, 0, 1, 5)
    match = Match(ADA, 0.612_345_6, 0.9, float(np.float32(1.234_567)))
    verdict = Verdict(
        finding=finding,
        track=track,
        match=match,
        embedding=np.full(192, 0.072, np.float32),
        samples=4,
        quality=0.812_345,
        reason="distance below threshold",
        decided_ns=1,
    )
    return Decision(kind, "allow *", verdict, 1)


def an_access_event(
    kind: AccessOutcome = AccessOutcome.DOOR_OPEN, finding: Identification = Identification.RECOGNISED
) -> Event:
    return access_event(a_decision(kind, finding), id=ID, at_ns=T0_NS, door=DOOR)


def test_a_door_open_event_says_who_when_why_and_how_sure() -> None:
    """Every field of the contract is there, with rounded numbers."""
    assert json.loads(encode(an_access_event())) == {
        "v": 1,
        "id": ID,
        "seq": 0,
        "door": "front",
        "kind": "door-open",
        "at": "2023-11-14T22:13:20.123Z",
        "published_at": None,
        "person": {"id": "ada", "name": "Ada Lovelace"},
        "distance_sq": 0.6123,
        "threshold_sq": 0.9,
        "runner_up_sq": 1.2346,
        "samples": 4,
        "quality": 0.812,
        "reason": "distance below threshold",
        "rule": "allow *",
        "track": 3,
        "box": {"left": 10, "top": 21, "right": 110, "bottom": 140},
        "clock_synced": True,
        "gallery": {"version": "7"},
        "models": {"embedder": "0123abcd"},
        "dropped": None,
        "liveness": None,
    }


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        (AccessOutcome.UNKNOWN, Identification.UNKNOWN),
        (AccessOutcome.UNKNOWN, Identification.UNDECIDED),
        (AccessOutcome.UNKNOWN, Identification.RECOGNISED),
        (AccessOutcome.DENIED, Identification.UNKNOWN),
    ],
)
def test_the_nearest_name_is_not_told_for_somebody_unknown(kind: AccessOutcome, finding: Identification) -> None:
    """Weak evidence must not look like an identification anywhere in the message."""
    event = an_access_event(kind, finding)
    assert event.person is None
    assert b"ada" not in encode(event).lower()


def test_somebody_recognised_but_denied_is_named() -> None:
    """Who was turned away is known, and the operator wants to know it."""
    assert an_access_event(AccessOutcome.DENIED).person == PersonRef(id="ada", name="Ada Lovelace")


def test_a_system_event_has_the_same_keys_with_nulls() -> None:
    """A consumer never has to ask whether a key exists."""
    access = json.loads(encode(an_access_event()))
    system = json.loads(encode(system_event(EventKind.CAMERA_LOST, "no frame for 5 s", id=ID, at_ns=T0_NS, door=DOOR)))
    assert list(system) == list(access)
    assert (system["kind"], system["reason"]) == ("camera-lost", "no frame for 5 s")
    assert {system[key] for key in ("person", "distance_sq", "samples", "rule", "track")} == {None}


def test_a_system_event_cannot_pass_for_an_access_event() -> None:
    """Only a decision opens a door."""
    with pytest.raises(ValueError, match="door-open"):
        system_event(EventKind.DOOR_OPEN, "", id=ID, at_ns=T0_NS, door=DOOR)


def test_an_opening_carries_the_id_and_number_of_its_event() -> None:
    """So that the two can be joined, and copies dropped."""
    message = make_open_command(msgspec.structs.replace(an_access_event(), seq=17), expires_ns=T0_NS + 3 * 10**9)
    assert (message.id, message.seq, message.person.id) == (ID, 17, "ada")
    assert (message.at, message.expires_at) == ("2023-11-14T22:13:20.123Z", "2023-11-14T22:13:23.123Z")


@pytest.mark.parametrize(
    "event", [an_access_event(AccessOutcome.DENIED), an_access_event(AccessOutcome.UNKNOWN), an_event()]
)
def test_nothing_but_a_door_open_event_opens(event: Event) -> None:
    """An opening cannot even be made from any other event."""
    with pytest.raises(ValueError, match="only a door-open event"):
        make_open_command(event, expires_ns=T0_NS)


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_are_utc_with_milliseconds_and_never_in_the_future(ns: int) -> None:
    """The text is the instant, cut to the millisecond."""
    text = format_unix_ns(ns)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert np.datetime64(text[:-1], "ms").astype("int64") == ns // 10**6
    assert msgspec.convert(text, Rfc3339) == text


def test_each_channel_reads_what_it_wrote() -> None:
    """Decoding is the reverse of encoding, for all of them."""
    asked = Challenge(
        v=VERSION,
        door="front",
        id="0190",
        at=format_unix_ns(T0_NS),
        expires_at=format_unix_ns(T0_NS),
        ask=ChallengeMovement.TURN_LEFT,
        state=ChallengeState.ASKED,
        step=1,
        steps=2,
        reason="",
    )
    records: list[tuple[Channel, Record]] = [
        *examples(),
        (Channel.EVENTS, an_access_event()),
        (Channel.OPEN, make_open_command(an_access_event(), expires_ns=T0_NS)),
        (Channel.CHALLENGE, asked),
    ]
    assert {channel for channel, _ in records} == set(Channel)
    assert [decode(channel, encode(record)) for channel, record in records] == [record for _, record in records]


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[]", b"{}", encode(an_event()).replace(b'"v":1', b'"v":2')])
def test_what_is_not_this_contract_is_a_value_error(payload: bytes) -> None:
    """Whatever comes in, one kind of error goes out."""
    with pytest.raises(ValueError, match="not a version 1 message of events"):
        decode(Channel.EVENTS, payload)


def test_a_consumer_survives_keys_it_does_not_know() -> None:
    """A newer door may say more."""
    event = an_event()
    assert decode(Channel.EVENTS, encode(event)[:-1] + b',"mood":"good"}') == event


def test_the_schema_names_every_field_and_no_pixels() -> None:
    """JSON Schema comes from the types themselves."""
    made = schemas()
    assert set(made) == set(Channel)
    event = made[Channel.EVENTS]["$defs"]["Event"]
    assert set(event["properties"]) == {field.encode_name for field in msgspec.structs.fields(Event)}
    assert set(event["required"]) == set(event["properties"]) - {"dropped", "liveness"}
    assert not {"pixels", "embedding", "image"} & set(event["properties"])
    assert {kind.value for kind in AccessOutcome} < set(made[Channel.EVENTS]["$defs"]["EventKind"]["enum"])


def test_every_channel_has_its_terms() -> None:
    """And what opens a door or told of somebody at it is kept for nobody."""
    assert set(DELIVERY_TERMS) == set(Channel)
    assert not any(DELIVERY_TERMS[channel].retained for channel in (Channel.EVENTS, Channel.OPEN, Channel.CHALLENGE))


def test_topics_are_made_and_taken_apart_in_one_place() -> None:
    """Splitting is the reverse of making; anything else is not a door's topic."""
    door = Topics("home", "front.1")
    assert door.topic_for(Channel.OPEN) == "threshold/home/front.1/open"
    assert all(Topics.parse(door.topic_for(channel)) == (door, channel) for channel in Channel)
    picture = door.snapshot("018f0c5a-0000-7000-8000-000000000000")
    assert Topics.split_snapshot(picture) == (door, picture.rpartition("/")[2])
    assert Topics.parse(picture) is None
    assert Topics.split_snapshot(door.snapshot("+")) is None
    for other in ("threshold/home/front/events/x", "threshold/home/repo/root.json", "x/home/front/events", ""):
        assert Topics.parse(other) is None


def test_a_uuid7_is_laid_out_as_in_the_rfc() -> None:
    """The worked example of RFC 9562, appendix A.6."""
    tail = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7(0x017F22E279B0, tail) == uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@given(st.lists(st.integers(0, 2**47), min_size=2, max_size=30), st.binary(min_size=16, max_size=16))
def test_ids_rise_whatever_the_clock_does(clock_ms: list[int], seed: bytes) -> None:
    """Stepping back, standing still or jumping, ids stay UUIDv7 and sort as they were made."""
    source = Uuid7Source(lambda n: seed[:n])
    made = [source.new(ms) for ms in clock_ms]
    assert made == sorted(set(made))
    assert all((uuid.UUID(text).version, uuid.UUID(text).variant) == (7, uuid.RFC_4122) for text in made)


def test_ids_rise_when_the_tail_of_a_millisecond_is_used_up() -> None:
    """The last tail of one millisecond is followed by the next millisecond."""
    source = Uuid7Source(lambda n: b"\xff" * n)
    first, second = source.new(5), source.new(5)
    assert uuid.UUID(first) == uuid7(5, (1 << RANDOM_TAIL_BITS) - 1)
    assert uuid.UUID(second).int >> 80 == 6


def test_boxes_are_whole_pixels() -> None:
    """Sub-pixel figures would only pretend."""
    assert an_access_event().box == BoxPx(left=10, top=21, right=110, bottom=140)


def test_an_event_on_the_open_topic_opens_nothing() -> None:
    """A lock that decodes what it gets finds no opening in it."""
    with pytest.raises(ValueError, match="not a version 1 message of open"):
        decode(Channel.OPEN, encode(an_event()))
