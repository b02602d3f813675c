"""Types of the messages: encoding, decoding, and payloads that are not this contract."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.decisions import an_access_event
from support.example_house import examples
from support.mqtt_brokers import T0_NS, an_event

from edge.core.records import AccessOutcome
from edge.core.timestamps import format_unix_ns
from edge.events.factory import make_open_command
from edge.events.schema import (
    VERSION,
    Challenge,
    Event,
    Record,
    Rfc3339,
    decode,
    encode,
    schemas,
)
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengeState


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_are_utc_with_milliseconds(ns: int) -> None:
    """Rounded down to the millisecond."""
    text = format_unix_ns(ns)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert np.datetime64(text[:-1], "ms").astype("int64") == ns // 10**6
    assert msgspec.convert(text, Rfc3339) == text


def test_decoding_reverses_encoding() -> None:
    """On every channel."""
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
        reason=ChallengeFailure.NONE,
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
def test_invalid_payload_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a version 1 message of events"):
        decode(Channel.EVENTS, payload)


def test_unknown_keys_are_ignored() -> None:
    """A newer door may send more."""
    event = an_event()
    assert decode(Channel.EVENTS, encode(event)[:-1] + b',"mood":"good"}') == event


def test_schema_has_every_field_and_no_pixels() -> None:
    """JSON Schema is made from the types."""
    made = schemas()
    assert set(made) == set(Channel)
    event = made[Channel.EVENTS]["$defs"]["Event"]
    assert set(event["properties"]) == {field.encode_name for field in msgspec.structs.fields(Event)}
    assert set(event["required"]) == set(event["properties"]) - {"dropped", "liveness", "detail"}
    assert not {"pixels", "embedding", "image"} & set(event["properties"])
    assert {kind.value for kind in AccessOutcome} < set(made[Channel.EVENTS]["$defs"]["EventKind"]["enum"])


def test_event_on_the_open_topic_is_no_open_command() -> None:
    with pytest.raises(ValueError, match="not a version 1 message of open"):
        decode(Channel.OPEN, encode(an_event()))
