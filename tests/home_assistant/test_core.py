"""Discovery, templates and entities of a door in a real Home Assistant core. `make test-home-assistant`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("homeassistant", reason="needs its own environment: make test-home-assistant")

from homeassistant.components.mqtt import discovery as ha_discovery
from homeassistant.components.mqtt.const import SUPPORTED_COMPONENTS
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from support.example_house import (
    ANNA,
    BARE,
    FRONT,
    HEALTH,
    RELEASE,
    TOPICS,
    a_status,
    an_event_of,
    an_occupancy,
    examples,
)
from support.home_assistant_core import Door, Home, a_wire, play, play_online, said
from support.mqtt_brokers import Mosquitto, an_event, announce, config_for, needs_mosquitto

from edge.core.config import DoorConfig, HomeAssistantConfig, OutboxConfig
from edge.core.reasons import Reason
from edge.events.reasons import REASONS_BY_KIND, reason_sentence
from edge.events.schema import ACCESS_KINDS, DoorConnection, EventKind, encode
from edge.events.topics import Channel
from edge.mqtt.connection import connect
from edge.mqtt.publisher import Publisher
from edge.outbox.outbox import Outbox

pytestmark = needs_mosquitto
ODD = msgspec.structs.replace(FRONT, site="Werk.2_b", door="a.-_B", home_assistant=HomeAssistantConfig(name="Tür"))
OFF = msgspec.structs.replace(FRONT, home_assistant=HomeAssistantConfig(enabled=False))
NAMES = {
    "event.home_front_access",
    "event.home_front_system",
    "sensor.home_front_last_person",
    "binary_sensor.home_front_presence",
    "binary_sensor.home_front_connection",
    "binary_sensor.home_front_problem",
    "sensor.home_front_camera",
    "sensor.home_front_fps",
    "sensor.home_front_temperature",
    "sensor.home_front_outbox",
    "sensor.home_front_gallery",
}
FURTHER = {"update.home_front_release", "sensor.home_front_lock", "image.home_front_visitor"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@contextmanager
def a_publisher(broker: Mosquitto, folder: Path, config: DoorConfig) -> Iterator[tuple[Publisher, Outbox]]:
    """Publisher of a door, with its outbox."""
    with (
        Outbox(folder / "outbox.db", OutboxConfig(), announce=announce) as outbox,
        Publisher(
            config_for(broker), TOPICS, outbox, on_open_expired=lambda *_: None, discovery=said(config)
        ) as publisher,
    ):
        yield publisher, outbox


# Schemas


def test_discovery_payload_in_home_assistant_schemas(broker: Mosquitto, tmp_path: Path) -> None:
    """Schemas drop unknown keys, so every key of the payload must be in the output."""

    async def scene(_: Home, __: Door) -> None:
        for config in (FRONT, BARE, ODD):
            payload = json.loads(said(config).payload)
            topic = said(config).topic.removeprefix("homeassistant/")
            assert ha_discovery.TOPIC_MATCHER.fullmatch(topic)
            assert set(payload) <= set(DEVICE_DISCOVERY_SCHEMA(payload))
            for entity in payload["components"].values():
                platform = entity.pop("platform")
                assert platform in SUPPORTED_COMPONENTS
                if entity:
                    schema = importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA
                    assert set(entity) <= set(schema(dict(entity)))

    play(tmp_path, broker, scene)


# Entities


def test_entities_of_a_complete_door(broker: Mosquitto, tmp_path: Path) -> None:
    """The door published its discovery before Home Assistant started; entity ids are the proposed ones."""

    async def scene(home: Home, _: Door) -> None:
        await home.shows(*NAMES, *FURTHER)
        await home.until(lambda: home.state("binary_sensor.home_front_connection") == "on", "connected")
        await home.until(lambda: home.state("event.home_front_access") == "unknown", "available")

    with a_publisher(broker, tmp_path, FRONT):
        play(tmp_path, broker, scene)


def test_discovery_repeated_after_birth_message(broker: Mosquitto, tmp_path: Path) -> None:
    """Works even if the broker has lost the retained discovery message."""

    async def scene(home: Home, door: Door) -> None:
        await home.shows(*NAMES, *FURTHER)

    with a_publisher(broker, tmp_path, FRONT), a_wire(broker) as door:
        door.send(said(FRONT).topic, b"", retain=True)
        play(tmp_path, broker, scene)


def test_every_record_is_processed_without_a_warning(broker: Mosquitto, tmp_path: Path) -> None:
    """Every event kind and every report, with and without nullable fields, and with each field missing."""

    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        for channel, record in examples():
            door.say(channel, record)
        whole = [(channel, msgspec.json.decode(encode(record))) for channel, record in examples()]
        for channel, record in whole:
            if channel not in (Channel.STATUS, Channel.EVENTS):
                for gone in record:
                    door.say(channel, {key: value for key, value in record.items() if key != gone})
        door.say(Channel.STATUS, a_status(DoorConnection.ONLINE))
        door.say(Channel.EVENTS, an_event_of(EventKind.DOOR_OPEN, ANNA, "the last one"))
        await home.until(
            lambda: home.attribute("event.home_front_access", "detail") == "the last one", "all records are processed"
        )

    play(tmp_path, broker, scene)


def test_event_entity_type_of_each_event(broker: Mosquitto, tmp_path: Path) -> None:
    """Each event appears once, in the access or the system entity."""

    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        await home.sees_the_door()
        for kind in EventKind:
            door.say(Channel.EVENTS, an_event_of(kind))
        last = an_event_of(EventKind.DOOR_OPEN, ANNA)
        door.say(Channel.EVENTS, last)
        await home.until(lambda: home.attribute("event.home_front_access", "id") == last.id, "the last event")
        seen = {
            name: [
                state.attributes["event_type"]
                for state in home.changes
                if state.entity_id == f"event.home_front_{name}" and state.attributes.get("event_type")
            ]
            for name in ("access", "system")
        }
        assert seen["access"] == [kind for kind in EventKind if kind in ACCESS_KINDS] + ["door-open"]
        assert seen["system"] == [kind for kind in EventKind if kind not in ACCESS_KINDS]
        assert home.attribute("event.home_front_access", "person") == ANNA.name
        assert home.attribute("event.home_front_access", "reason") == Reason.WITHIN_THRESHOLD
        assert home.attribute("event.home_front_access", "message") == reason_sentence(Reason.WITHIN_THRESHOLD)
        reason = REASONS_BY_KIND[EventKind.CLOCK_STEPPED][0]
        assert home.attribute("event.home_front_system", "message") == reason_sentence(reason)
        assert home.state("sensor.home_front_last_person") == ANNA.name

    play_online(tmp_path, broker, scene)


def test_entity_states_of_health_release_and_presence(broker: Mosquitto, tmp_path: Path) -> None:
    """Values that the door does not report are "unknown"."""

    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        door.say(Channel.HEALTH, HEALTH)
        door.say(Channel.RELEASE, RELEASE)
        door.say(Channel.PRESENCE, an_occupancy(True))
        await home.until(lambda: home.state("binary_sensor.home_front_presence") == "on", "presence is on")
        assert {name: home.state(name) for name in NAMES | FURTHER if "event" not in name and "image" not in name} == {
            "sensor.home_front_last_person": "unknown",
            "binary_sensor.home_front_presence": "on",
            "binary_sensor.home_front_connection": "on",
            "binary_sensor.home_front_problem": "on",
            "sensor.home_front_camera": "working",
            "sensor.home_front_fps": "14.9",
            "sensor.home_front_temperature": "51.5",
            "sensor.home_front_outbox": "3",
            "sensor.home_front_gallery": "7",
            "update.home_front_release": "off",
            "sensor.home_front_lock": "locked",
        }
        assert home.attribute("binary_sensor.home_front_problem", "problems") == ["the clock is not set"]
        nothing = msgspec.structs.replace(HEALTH, temperature_c=None, gallery=None, problems=(), lock=None)
        door.say(Channel.HEALTH, nothing)
        door.say(Channel.RELEASE, msgspec.structs.replace(RELEASE, ok=False, detail="release 13: damaged"))
        door.say(Channel.PRESENCE, an_occupancy(None))
        await home.until(lambda: home.state("binary_sensor.home_front_presence") == "unknown", "the camera is blind")
        assert [home.state(f"sensor.home_front_{name}") for name in ("temperature", "gallery", "lock")] == [
            "unknown"
        ] * 3
        assert home.state("binary_sensor.home_front_problem") == "off"
        assert home.state("update.home_front_release") == "on"
        assert home.attribute("update.home_front_release", "release_summary") == "release 13: damaged"

    play_online(tmp_path, broker, scene)


def test_entities_unavailable_after_the_last_will(broker: Mosquitto, tmp_path: Path) -> None:
    """All entities except the connection become unavailable."""

    async def scene(home: Home, __: Door) -> None:
        with a_publisher(broker, tmp_path, FRONT):
            await home.shows(*NAMES, *FURTHER)
            await home.until(lambda: home.state("binary_sensor.home_front_connection") == "on", "connected")
            thief, _protocol = connect(
                config_for(broker), client_id="threshold-home-front"
            )  # takes over the door's session, which triggers its last will
            thief.abort()
            await home.until(lambda: home.state("binary_sensor.home_front_connection") == "off", "the last will")
            others = NAMES | FURTHER - {"binary_sensor.home_front_connection"}
            assert {home.state(name) for name in others - {"binary_sensor.home_front_connection"}} == {"unavailable"}
            await home.until(lambda: home.state("binary_sensor.home_front_connection") == "on", "connected again")

    play(tmp_path, broker, scene)


def test_image_entity_shows_the_last_snapshot(broker: Mosquitto, tmp_path: Path) -> None:
    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        for jpeg in (b"\xff\xd8\xffone", b"\xff\xd8\xfftwo"):
            door.send(TOPICS.snapshot(an_event().id), jpeg)
        image = home.hass.data["image"].get_entity("image.home_front_visitor")
        await home.until(lambda: bool(image.image_last_updated), "a picture")
        await home.until(lambda: image._last_image == b"\xff\xd8\xfftwo", "the second picture")
        assert await image.async_image() == b"\xff\xd8\xfftwo"
        assert image.content_type == "image/jpeg"

    play_online(tmp_path, broker, scene)


def test_optional_entities_removed_and_added_again(broker: Mosquitto, tmp_path: Path) -> None:
    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        door.introduce(BARE)
        await home.shows(*NAMES)
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)

    play(tmp_path, broker, scene)


def test_disabled_door_removed_from_home_assistant(broker: Mosquitto, tmp_path: Path) -> None:
    async def scene(home: Home, door: Door) -> None:
        door.introduce(FRONT)
        await home.shows(*NAMES, *FURTHER)
        door.introduce(OFF)
        await home.shows()

    play(tmp_path, broker, scene)
