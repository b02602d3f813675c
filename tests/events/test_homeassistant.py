"""Home Assistant discovery: one device per door, sent again when Home Assistant starts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.example_house import FRONT, TOPICS, an_occupancy
from support.mqtt_brokers import (
    AnyBroker,
    Mosquitto,
    announce,
    config_for,
    needs_mosquitto,
    wait_until,
)

from edge.core.config import DoorConfig, HomeAssistantConfig, MqttConfig, OutboxConfig, read_config
from edge.core.errors import ConfigError
from edge.events.homeassistant import DiscoveryMessage, HomeAssistantBirthListener, device_id, make_discovery_message
from edge.events.topics import Channel
from edge.mqtt.connection import ConnectionStatus, connect
from edge.mqtt.paho_client import IncomingMessage, PahoClient
from edge.mqtt.publisher import Publisher
from edge.outbox.outbox import Outbox

CONFIG_TOPIC = "homeassistant/device/threshold__home__front/config"
BIRTH_TOPIC = "homeassistant/status"
OFF = msgspec.structs.replace(FRONT, home_assistant=HomeAssistantConfig(enabled=False))


def payload_of(config: DoorConfig = FRONT) -> dict[str, Any]:
    """The discovery payload as Home Assistant reads it."""
    made = make_discovery_message(config)
    assert made is not None
    found: dict[str, Any] = msgspec.json.decode(made.payload)
    return found


class Listener:
    """Client in the place of Home Assistant: receives all messages and can publish."""

    def __init__(self, connection: PahoClient) -> None:
        self._connection = connection
        self.received: list[IncomingMessage] = []

    def count(self, topic: str) -> int:
        """Number of messages on a topic so far."""
        self._connection.poll(0.01)
        self.received += self._connection.take_messages()
        return sum(message.topic == topic for message in self.received)

    def say(self, payload: bytes, *, retain: bool = False) -> None:
        self._connection.publish(BIRTH_TOPIC, payload, qos=1, retain=retain)


@contextlib.contextmanager
def listening(config: MqttConfig) -> Iterator[Listener]:
    connection, _ = connect(config, client_id="home-assistant", max_packet_bytes=64 * 1024)
    connection.subscribe(["#"], qos=1)
    try:
        yield Listener(connection)
    finally:
        connection.close()


@contextlib.contextmanager
def a_door(config: MqttConfig, folder: Path, made: DiscoveryMessage | None) -> Iterator[Publisher]:
    at_once = made and DiscoveryMessage(made.topic, made.payload, made.birth_topic, jitter_s=(0.0, 0.01))
    with (
        Outbox(folder / "outbox.db", OutboxConfig(), announce=announce) as outbox,
        Publisher(config, TOPICS, outbox, on_open_expired=lambda *_: None, discovery=at_once) as publisher,
    ):
        yield publisher


def test_one_device_with_all_entities() -> None:
    payload = payload_of()
    assert payload["device"] == {
        "identifiers": ["threshold__home__front"],
        "name": "Front",
        "manufacturer": "Threshold",
        "model": "Door",
        "sw_version": payload["origin"]["sw_version"],
    }
    assert {key: entity["platform"] for key, entity in payload["components"].items()} == {
        "access": "event",
        "last_person": "sensor",
        "presence": "binary_sensor",
        "system": "event",
        "connection": "binary_sensor",
        "problem": "binary_sensor",
        "camera": "sensor",
        "fps": "sensor",
        "temperature": "sensor",
        "outbox": "sensor",
        "gallery": "sensor",
        "release": "update",
        "lock": "sensor",
        "visitor": "image",
    }


def test_permanent_names() -> None:
    """Home Assistant identifies an entity by its unique id; a new id would lose history and automations."""
    entities = payload_of()["components"]
    assert {key: entity["unique_id"] for key, entity in entities.items()} == {
        key: f"threshold__home__front_{key}" for key in entities
    }
    assert entities["access"]["default_entity_id"] == "event.home_front_access"
    assert make_discovery_message(FRONT).topic == CONFIG_TOPIC  # type: ignore[union-attr]
    assert not any("object_id" in entity for entity in entities.values())


def test_device_ids_are_unique() -> None:
    """For all names of sites and doors; topics of Home Assistant allow only letters, digits, "_" and "-"."""
    parts = ["a", "b", "a_b", "a.b", "a-b", "b_c", "5fb", "2e", "a_5fb", "A"]
    names = [device_id(site, door) for site in parts for door in parts]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names)


def test_no_discovery_without_the_table() -> None:
    assert make_discovery_message(msgspec.structs.replace(FRONT, home_assistant=None)) is None


def test_disabled_discovery_removes_the_device() -> None:
    """An empty retained message deletes the retained one, and Home Assistant removes the device."""
    made = make_discovery_message(OFF)
    assert made == DiscoveryMessage(CONFIG_TOPIC, b"", birth_topic="")


@pytest.mark.parametrize("line", ['discovery_prefix = "a/#"', 'birth_topic = "+/status"', 'discovery_prefix = ""'])
def test_invalid_discovery_topic_is_rejected(tmp_path: Path, line: str) -> None:
    path = tmp_path / "door.toml"
    path.write_text(f'site = "home"\ndoor = "front"\n[home_assistant]\n{line}\n')
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        read_config(path)


def test_discovery_is_sent_and_retained(broker: AnyBroker, tmp_path: Path) -> None:
    made = make_discovery_message(FRONT)
    assert made
    with a_door(config_for(broker), tmp_path, made) as publisher, listening(config_for(broker)) as home:
        wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")
        wait_until(lambda: home.count(CONFIG_TOPIC) > 0, "the discovery message")
    with listening(config_for(broker)) as later:
        wait_until(lambda: later.count(CONFIG_TOPIC) == 1, "the retained discovery message")
        assert [message.payload for message in later.received if message.topic == CONFIG_TOPIC] == [made.payload]


def test_discovery_after_a_start_of_home_assistant(broker: AnyBroker, tmp_path: Path) -> None:
    """Once for each start; its goodbye is not a start."""
    with (
        listening(config_for(broker)) as home,
        a_door(config_for(broker), tmp_path, make_discovery_message(FRONT)) as publisher,
    ):
        publisher.presence(an_occupancy(True))
        wait_until(
            lambda: home.count(CONFIG_TOPIC) == 1 and home.count(TOPICS.topic_for(Channel.PRESENCE)) == 1, "once"
        )
        home.say(b"offline")
        home.say(b"online")
        wait_until(
            lambda: home.count(CONFIG_TOPIC) == 2 and home.count(TOPICS.topic_for(Channel.PRESENCE)) == 2, "twice"
        )
        home.say(b"online")
        wait_until(lambda: home.count(CONFIG_TOPIC) == 3, "three times")


def test_several_birth_messages_are_answered_once() -> None:
    birth = HomeAssistantBirthListener(DiscoveryMessage(CONFIG_TOPIC, b"{}", BIRTH_TOPIC, jitter_s=(1.0, 1.0)))
    assert birth.due_in_ns(0) is None
    for now_ns in range(0, 10**9, 10**8):
        birth.on_message(BIRTH_TOPIC, b"online", retained=False, now_ns=now_ns)
        assert not birth.pop_due(now_ns)
    assert birth.due_in_ns(10**9) == 0
    assert [birth.pop_due(10**9) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("topic", "payload", "retained"),
    [
        (BIRTH_TOPIC, b"online", True),
        (BIRTH_TOPIC, b"ONLINE", False),
        ("threshold/home/front/status", b"online", False),
    ],
)
def test_other_messages_are_not_answered(topic: str, payload: bytes, retained: bool) -> None:
    """Nor is a retained birth message: a door that has just connected has sent everything."""
    birth = HomeAssistantBirthListener(DiscoveryMessage(CONFIG_TOPIC, b"{}", BIRTH_TOPIC))
    birth.on_message(topic, payload, retained=retained, now_ns=0)
    assert birth.due_in_ns(0) is None


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_flood_on_the_birth_topic(tmp_path: Path, protocol: str) -> None:
    """The broker omits a large message, or the connection ends and the door reconnects."""
    with (
        Mosquitto(tmp_path) as broker,
        listening(config_for(broker)) as home,
        a_door(config_for(broker, protocol=protocol), tmp_path, make_discovery_message(FRONT)) as publisher,
    ):
        wait_until(lambda: home.count(CONFIG_TOPIC) == 1, "the discovery message")
        home.say(b"x" * 100_000)
        home.say(b"online")
        wait_until(lambda: home.count(CONFIG_TOPIC) == 2, "the discovery message again")
        wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")


def test_disabling_leaves_no_retained_message(broker: AnyBroker, tmp_path: Path) -> None:
    with a_door(config_for(broker), tmp_path, make_discovery_message(FRONT)), listening(config_for(broker)) as home:
        wait_until(lambda: home.count(CONFIG_TOPIC) > 0, "the discovery message")
    with listening(config_for(broker)) as home:
        wait_until(lambda: home.count(CONFIG_TOPIC) == 1, "the retained discovery message")
        with a_door(config_for(broker), tmp_path, make_discovery_message(OFF)):
            wait_until(lambda: home.count(CONFIG_TOPIC) == 2, "the offline status")
    with listening(config_for(broker)) as later:
        wait_until(lambda: later.count(TOPICS.topic_for(Channel.STATUS)) == 1, "the retained messages")
        assert later.count(CONFIG_TOPIC) == 0
