"""Content of events, open commands and challenges."""

from __future__ import annotations

import json

import msgspec
import pytest
from support.decisions import EVENT_ID, an_access_event
from support.mqtt_brokers import DOOR, T0_NS, an_event

from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Identification
from edge.events.factory import make_open_command, system_event
from edge.events.schema import (
    BoxPx,
    Event,
    EventKind,
    PersonRef,
    encode,
)


def test_door_open_event() -> None:
    """Every field of the contract is there, with rounded numbers."""
    assert json.loads(encode(an_access_event())) == {
        "v": 1,
        "id": EVENT_ID,
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
        "reason": "within-threshold",
        "rule": "allow *",
        "track": 3,
        "box": {"left": 10, "top": 21, "right": 110, "bottom": 140},
        "clock_synced": True,
        "gallery": {"version": "7"},
        "models": {"embedder": "0123abcd"},
        "dropped": None,
        "liveness": None,
        "detail": None,
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
def test_nearest_person_of_an_unknown_visitor_is_absent(kind: AccessOutcome, finding: Identification) -> None:
    """Weak evidence does not appear as an identification anywhere in the message."""
    event = an_access_event(kind, finding)
    assert event.person is None
    assert b"ada" not in encode(event).lower()


def test_denied_person_is_named() -> None:
    """The operator sees who was denied."""
    assert an_access_event(AccessOutcome.DENIED).person == PersonRef(id="ada", name="Ada Lovelace")


def test_system_event_has_all_keys() -> None:
    """Consumers never have to test whether a key exists."""
    access = json.loads(encode(an_access_event()))
    system = json.loads(
        encode(
            system_event(
                EventKind.CAMERA_LOST, Reason.NO_FRAMES, "no frame for 5 s", id=EVENT_ID, at_ns=T0_NS, door=DOOR
            )
        )
    )
    assert list(system) == list(access)
    assert (system["kind"], system["reason"], system["detail"]) == ("camera-lost", "no-frames", "no frame for 5 s")
    assert {system[key] for key in ("person", "distance_sq", "samples", "rule", "track")} == {None}


def test_system_event_of_an_access_kind_is_rejected() -> None:
    """Only a decision opens a door."""
    with pytest.raises(ValueError, match="door-open"):
        system_event(EventKind.DOOR_OPEN, Reason.WITHIN_THRESHOLD, id=EVENT_ID, at_ns=T0_NS, door=DOOR)


def test_open_command_has_id_and_number_of_its_event() -> None:
    """So that they can be joined, and copies dropped."""
    message = make_open_command(msgspec.structs.replace(an_access_event(), seq=17), expires_ns=T0_NS + 3 * 10**9)
    assert (message.id, message.seq, message.person.id) == (EVENT_ID, 17, "ada")
    assert (message.at, message.expires_at) == ("2023-11-14T22:13:20.123Z", "2023-11-14T22:13:23.123Z")


@pytest.mark.parametrize(
    "event", [an_access_event(AccessOutcome.DENIED), an_access_event(AccessOutcome.UNKNOWN), an_event()]
)
def test_open_command_only_for_door_open_events(event: Event) -> None:
    """No open command can be made from another event."""
    with pytest.raises(ValueError, match="only a door-open event"):
        make_open_command(event, expires_ns=T0_NS)


def test_boxes_are_whole_pixels() -> None:
    assert an_access_event().box == BoxPx(left=10, top=21, right=110, bottom=140)
