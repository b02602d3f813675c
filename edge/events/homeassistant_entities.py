"""Home Assistant entities of a door, with the templates that read its messages. Pure.

The keys are those of the MQTT platforms of Home Assistant. The templates tolerate null and missing fields.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec

from edge.core.config import DoorConfig
from edge.events.reasons import REASONS_BY_KIND, reason_sentence
from edge.events.schema import ACCESS_KINDS, CameraState, DoorConnection, EventKind, LockState
from edge.events.topics import Channel, Topics

MAX_STATE_CHARS = 255  # longest state, and longest summary of an update


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """Topic and template for the availability of an entity."""

    topic: str
    value_template: str


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entity in the terms of Home Assistant; with `platform` alone, Home Assistant removes it."""

    platform: str
    unique_id: str = ""
    default_entity_id: str = ""
    name: str = ""
    icon: str = ""
    entity_category: str = ""
    device_class: str = ""
    state_class: str = ""
    unit_of_measurement: str = ""
    suggested_display_precision: int | None = None
    availability: tuple[Availability, ...] | None = None  # None: as the device
    qos: int = 0
    state_topic: str = ""
    value_template: str = ""
    json_attributes_topic: str = ""
    json_attributes_template: str = ""
    payload_on: str = ""
    payload_off: str = ""
    options: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    title: str = ""
    image_topic: str = ""
    content_type: str = ""


def entities_of(config: DoorConfig) -> dict[str, Entity]:
    """Entities of a door, by keys that must never change; those that the door lacks have only a platform."""
    topics = Topics(config.site, config.door)
    release = Entity(
        platform="update",
        name="Release",
        title="People, rules and models",
        entity_category="diagnostic",
        qos=1,
        state_topic=topics.topic_for(Channel.RELEASE),
        value_template=_RELEASE,
    )
    lock = _health_sensor(topics, "Lock", "lock", icon="mdi:lock", device_class="enum", options=tuple(LockState))
    visitor = Entity(
        platform="image", name="Last visitor", qos=1, image_topic=topics.snapshot("+"), content_type="image/jpeg"
    )
    return {
        **_access(topics),
        **_health(topics),
        "release": release if config.release else Entity(platform="update"),
        "lock": lock if config.lock else Entity(platform="sensor"),
        "visitor": visitor if config.snapshots.kinds else Entity(platform="image"),
    }


def availability_of(topics: Topics) -> Availability:
    """Availability by the status of the door; its last will sets it to offline."""
    return Availability(topic=topics.topic_for(Channel.STATUS), value_template=_STATUS)


_STATUS = "{{ value_json.status | default('') }}"
_SYSTEM_KINDS = tuple(sorted(set(EventKind) - ACCESS_KINDS))


def _value_template(field: str) -> str:
    """Template of a field; "None", an unknown state, if the field is null or missing."""
    return f"{{{{ value_json.{field} | default(none) }}}}"


def _event_template(kinds: tuple[EventKind, ...], fields: dict[str, str]) -> str:
    """Template of an event as JSON, with its reason as a sentence; nothing, which is ignored, for other kinds."""
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    sentences = {reason: reason_sentence(reason) for kind in kinds for reason in REASONS_BY_KIND[kind]}
    message = f"{json.dumps(sentences)}.get(value_json.reason | default(''))"
    entries = ", ".join(f"'{name}': {expression}" for name, expression in (fields | {"message": message}).items())
    return (
        f"{{% if value_json.kind | default('') in [{listed}] %}}"
        f"{{{{ {{'event_type': value_json.kind, {entries}}} | to_json }}}}"
        "{% endif %}"
    )


def _field(path: str) -> str:
    """Expression of a field; none if the field or its parent is null or missing."""
    parent, _, child = path.rpartition(".")
    return (
        f"((value_json.{parent} | default({{}}, true)).{child} | default(none))"
        if parent
        else f"(value_json.{child} | default(none))"
    )


_EVENT_FIELDS = {name: _field(name) for name in ("id", "seq", "at", "reason", "detail")}
_ACCESS_FIELDS = {"person": _field("person.name"), "person_id": _field("person.id"), "rule": _field("rule")}
_LAST_PERSON = (  # other events keep the state
    "{% set name = " + _field("person.name") + " %}"
    "{{ name[:" + str(MAX_STATE_CHARS) + "] if name "
    "else this.state if this.state not in ['unknown', 'unavailable'] else none }}"
)
_OCCUPANCY = "{{ ('ON' if value_json.somebody else 'OFF') if value_json.somebody is boolean else none }}"  # or null
_PROBLEM = "{{ 'ON' if value_json.problems | default(false) else 'OFF' }}"
_PROBLEMS = "{{ {'problems': value_json.problems | default([])} | to_json }}"
_RELEASE = (  # 'refused' differs from the installed version, so it counts as an update
    "{% if value_json.release is number %}{{ {'installed_version': value_json.release | string, "
    "'latest_version': value_json.release | string if value_json.ok | default(false) else 'refused', "
    "'release_summary': (" + _field("detail") + " or '')[:" + str(MAX_STATE_CHARS) + "]} | to_json }}{% endif %}"
)


def _access(topics: Topics) -> dict[str, Entity]:
    """Entities about visitors."""
    events = topics.topic_for(Channel.EVENTS)
    answers = tuple(sorted(ACCESS_KINDS))
    return {
        "access": Entity(
            platform="event",
            name="Access",
            icon="mdi:door",
            qos=1,
            state_topic=events,
            event_types=answers,
            value_template=_event_template(answers, _EVENT_FIELDS | _ACCESS_FIELDS),
        ),
        "last_person": Entity(
            platform="sensor",
            name="Last person",
            icon="mdi:account-check",
            qos=1,
            state_topic=events,
            value_template=_LAST_PERSON,
        ),
        "presence": Entity(
            platform="binary_sensor",
            name="Somebody at the door",
            device_class="occupancy",
            qos=1,
            state_topic=topics.topic_for(Channel.PRESENCE),
            value_template=_OCCUPANCY,
        ),
    }


def _health(topics: Topics) -> dict[str, Entity]:
    """Entities about the door."""
    health = topics.topic_for(Channel.HEALTH)
    measured = partial(_health_sensor, topics, state_class="measurement")
    return {
        "system": Entity(
            platform="event",
            name="System",
            icon="mdi:message-cog-outline",
            entity_category="diagnostic",
            qos=1,
            state_topic=topics.topic_for(Channel.EVENTS),
            event_types=_SYSTEM_KINDS,
            value_template=_event_template(_SYSTEM_KINDS, _EVENT_FIELDS),
        ),
        "connection": Entity(
            platform="binary_sensor",
            name="Connection",
            entity_category="diagnostic",
            device_class="connectivity",
            availability=(),  # always available
            qos=1,
            state_topic=topics.topic_for(Channel.STATUS),
            value_template=_STATUS,
            payload_on=DoorConnection.ONLINE,
            payload_off=DoorConnection.OFFLINE,
        ),
        "problem": Entity(
            platform="binary_sensor",
            name="Problem",
            entity_category="diagnostic",
            device_class="problem",
            state_topic=health,
            value_template=_PROBLEM,
            json_attributes_topic=health,
            json_attributes_template=_PROBLEMS,
        ),
        "camera": _health_sensor(
            topics, "Camera", "camera", icon="mdi:camera", device_class="enum", options=tuple(CameraState)
        ),
        "fps": measured(
            "Frame rate", "fps", unit_of_measurement="fps", suggested_display_precision=1, icon="mdi:speedometer"
        ),
        "temperature": measured(
            "Temperature",
            "temperature_c",
            unit_of_measurement="°C",
            suggested_display_precision=0,
            device_class="temperature",
        ),
        "outbox": measured("Unsent events", "outbox_depth", unit_of_measurement="events", icon="mdi:tray-full"),
        "gallery": msgspec.structs.replace(
            _health_sensor(topics, "Gallery", "gallery", icon="mdi:account-group"),
            value_template="{{ " + _field("gallery.version") + " }}",
        ),
    }


def _health_sensor(topics: Topics, name: str, field: str, **more: Any) -> Entity:
    """A sensor of one field of the health report."""
    return Entity(
        platform="sensor",
        name=name,
        entity_category="diagnostic",
        state_topic=topics.topic_for(Channel.HEALTH),
        value_template=_value_template(field),
        **more,
    )
