"""Entities of Home Assistant: their templates, rendered with every message of the contract."""

from __future__ import annotations

import functools
import re
from typing import Any

import jinja2
import msgspec
import pytest
from support.example_house import ANNA, BARE, FRONT, HEALTH, RELEASE, TOPICS, an_event_of, an_occupancy, examples

from edge.core.config import DoorConfig, HomeAssistantConfig
from edge.core.reasons import Reason
from edge.events.homeassistant import make_discovery_message
from edge.events.reasons import reason_sentence
from edge.events.schema import ACCESS_KINDS, EventKind, Record, encode, schemas
from edge.events.topics import Channel

OFF = msgspec.structs.replace(FRONT, home_assistant=HomeAssistantConfig(enabled=False))
TEMPLATES = ("value_template", "json_attributes_template")


def payload_of(config: DoorConfig = FRONT) -> dict[str, Any]:
    """The discovery payload as Home Assistant reads it."""
    made = make_discovery_message(config)
    assert made is not None
    found: dict[str, Any] = msgspec.json.decode(made.payload)
    return found


def rendered(template: str, record: Record | dict[str, Any], state: str = "unknown") -> str:
    """Rendered as in Home Assistant; an unknown name, a warning there, is an error."""
    message = record if isinstance(record, dict) else msgspec.json.decode(encode(record))
    return compiled(template).render(value_json=message, this={"state": state}).strip()


@functools.cache
def compiled(template: str) -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = lambda value: msgspec.json.encode(value).decode()
    return environment.from_string(template)


def value(key: str, record: Record | dict[str, Any], state: str = "unknown") -> str:
    """Value of an entity for a message."""
    return rendered(payload_of()["components"][key]["value_template"], record, state)


def test_entities_depend_on_the_last_will() -> None:
    payload = payload_of()
    (status,) = payload["availability"]
    assert status["topic"] == TOPICS.topic_for(Channel.STATUS)
    overridden = {
        key: entity["availability"] for key, entity in payload["components"].items() if "availability" in entity
    }
    assert overridden == {"connection": []}


def test_missing_entities_are_listed_for_removal() -> None:
    """Home Assistant keeps an entity that the payload no longer mentions."""
    entities = payload_of(BARE)["components"]
    assert {key: entities[key] for key in ("release", "lock", "visitor")} == {
        "release": {"platform": "update"},
        "lock": {"platform": "sensor"},
        "visitor": {"platform": "image"},
    }


def test_every_event_kind_has_an_entity() -> None:
    entities = payload_of()["components"]
    access, system = (set(entities[key]["event_types"]) for key in ("access", "system"))
    assert access == {"door-open", "denied", "unknown"}
    assert access | system == {kind.value for kind in EventKind}
    assert not access & system


def test_templates_use_only_fields_of_the_contract() -> None:
    made = schemas()
    known = {
        channel: {name for it in made[channel]["$defs"].values() for name in it.get("properties", ())}
        for channel in made
    }
    for entity in payload_of()["components"].values():
        for key in TEMPLATES:
            if key in entity:
                topic = entity["state_topic"]
                asked = re.findall(r"value_json\.(\w+)", entity[key]) + re.findall(r"true\)\)\.(\w+)", entity[key])
                assert asked
                assert set(asked) <= known[Channel(topic.rpartition("/")[2])], entity[key]


@pytest.mark.parametrize("missing", ["nothing", "each field missing", "everything"])
def test_templates_render_every_message(missing: str) -> None:
    """Also messages of other versions, with a missing field."""
    entities = payload_of()["components"].values()
    for channel, record in examples():
        whole = msgspec.json.decode(encode(record))
        messages = {
            "nothing": [whole],
            "each field missing": [{key: it for key, it in whole.items() if key != gone} for gone in whole],
            "everything": [{}],
        }[missing]
        for entity in entities:
            if entity.get("state_topic") == TOPICS.topic_for(channel):
                for template in [entity[key] for key in TEMPLATES if key in entity]:
                    for message in messages:
                        rendered(template, message)


def test_event_attributes() -> None:
    """JSON for every name; Home Assistant requires `event_type` and shows the rest as attributes."""
    event = an_event_of(EventKind.DENIED, ANNA)
    assert msgspec.json.decode(value("access", event)) == {
        "event_type": "denied",
        "id": event.id,
        "seq": event.seq,
        "at": event.at,
        "reason": "no-rule-for-this-person",
        "detail": "because",
        "message": reason_sentence(Reason.NO_RULE),
        "person": ANNA.name,
        "person_id": "anna",
        "rule": None,
    }


def test_access_and_system_events_are_separate() -> None:
    for kind in EventKind:
        own, other = ("access", "system") if kind in ACCESS_KINDS else ("system", "access")
        assert msgspec.json.decode(value(own, an_event_of(kind)))["event_type"] == kind
        assert value(other, an_event_of(kind)) == ""


def test_last_person_stays_until_the_next() -> None:
    """Also after unknown visitors and restarts; a name is never longer than a state may be."""
    assert value("last_person", an_event_of(EventKind.DOOR_OPEN, ANNA), "Bob") == ANNA.name
    assert value("last_person", an_event_of(EventKind.UNKNOWN), "Bob") == "Bob"
    assert value("last_person", an_event_of(EventKind.STARTED), "Bob") == "Bob"
    assert value("last_person", an_event_of(EventKind.STARTED), "unavailable") == "None"
    long = msgspec.structs.replace(ANNA, name="a" * 300)
    assert len(value("last_person", an_event_of(EventKind.DOOR_OPEN, long))) == 255


def test_unknown_values_are_none() -> None:
    """ "None" is the unknown state of Home Assistant."""
    nothing = msgspec.structs.replace(HEALTH, temperature_c=None, gallery=None, problems=(), lock=None)
    assert [value(key, nothing) for key in ("temperature", "gallery", "lock", "problem")] == [
        "None",
        "None",
        "None",
        "OFF",
    ]
    assert [value(key, HEALTH) for key in ("temperature", "gallery", "lock", "problem")] == [
        "51.5",
        "7",
        "locked",
        "ON",
    ]
    assert [value("presence", an_occupancy(it)) for it in (True, False, None)] == ["ON", "OFF", "None"]


def test_refused_release_is_an_update_with_a_summary() -> None:
    assert msgspec.json.decode(value("release", RELEASE)) == {
        "installed_version": "12",
        "latest_version": "12",
        "release_summary": "release 12: 40 people",
    }
    refused = msgspec.json.decode(value("release", msgspec.structs.replace(RELEASE, ok=False, detail="stale " * 99)))
    assert (refused["installed_version"], refused["latest_version"]) == ("12", "refused")
    assert len(refused["release_summary"]) == 255
    assert value("release", msgspec.structs.replace(RELEASE, release=None)) == ""
