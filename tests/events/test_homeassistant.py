"""Home Assistant discovery: one device a door, sent again when Home Assistant starts."""

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
    """Home Assistant's end of the wire: hears everything and may speak."""

    def __init__(self, connection: PahoClient) -> None:
        self._connection = connection
        self.heard: list[IncomingMessage] = []

    def count(self, topic: str) -> int:
        """How often a topic was heard until now."""
        self._connection.poll(0.01)
        self.heard += self._connection.take_messages()
        return sum(message.topic == topic for message in self.heard)

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


def test_a_door_is_one_device_with_all_its_entities() -> None:
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


def test_names_that_must_not_change_do_not() -> None:
    """Home Assistant knows an entity by its unique id for ever: a new one would lose its history and automations."""
    entities = payload_of()["components"]
    assert {key: entity["unique_id"] for key, entity in entities.items()} == {
        key: f"threshold__home__front_{key}" for key in entities
    }
    assert entities["access"]["default_entity_id"] == "event.home_front_access"
    assert make_discovery_message(FRONT).topic == CONFIG_TOPIC  # type: ignore[union-attr]
    assert not any("object_id" in entity for entity in entities.values())


def test_no_two_doors_share_a_name_in_home_assistant() -> None:
    """Whatever their sites and doors may be called; and its topics take only letters, digits, "_" and "-"."""
    parts = ["a", "b", "a_b", "a.b", "a-b", "b_c", "5fb", "2e", "a_5fb", "A"]
    names = [device_id(site, door) for site in parts for door in parts]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names)


def test_a_door_says_nothing_to_home_assistant_unasked() -> None:
    assert make_discovery_message(msgspec.structs.replace(FRONT, home_assistant=None)) is None


def test_a_door_that_is_turned_off_there_takes_its_device_away() -> None:
    """An empty retained message is how MQTT forgets, and Home Assistant with it."""
    made = make_discovery_message(OFF)
    assert made == DiscoveryMessage(CONFIG_TOPIC, b"", birth_topic="")


@pytest.mark.parametrize("line", ['discovery_prefix = "a/#"', 'birth_topic = "+/status"', 'discovery_prefix = ""'])
def test_a_topic_that_cannot_be_published_to_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "door.toml"
    path.write_text(f'site = "home"\ndoor = "front"\n[home_assistant]\n{line}\n')
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        read_config(path)


def test_a_door_introduces_itself_and_whoever_comes_later_finds_it(broker: AnyBroker, tmp_path: Path) -> None:
    made = make_discovery_message(FRONT)
    assert made
    with a_door(config_for(broker), tmp_path, made) as publisher, listening(config_for(broker)) as home:
        wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")
        wait_until(lambda: home.count(CONFIG_TOPIC) > 0, "the introduction")
    with listening(config_for(broker)) as later:
        wait_until(lambda: later.count(CONFIG_TOPIC) == 1, "the kept introduction")
        assert [message.payload for message in later.heard if message.topic == CONFIG_TOPIC] == [made.payload]


def test_a_home_assistant_that_starts_is_told_everything_again(broker: AnyBroker, tmp_path: Path) -> None:
    """Once for each start; its goodbye is no start."""
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


def test_many_births_at_once_are_answered_once() -> None:
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
def test_what_is_no_birth_is_not_answered(topic: str, payload: bytes, retained: bool) -> None:
    """Neither is one that the broker has kept: a door that has just connected has said it all."""
    birth = HomeAssistantBirthListener(DiscoveryMessage(CONFIG_TOPIC, b"{}", BIRTH_TOPIC))
    birth.on_message(topic, payload, retained=retained, now_ns=0)
    assert birth.due_in_ns(0) is None


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_flood_on_the_birth_topic_does_not_enter_the_door(tmp_path: Path, protocol: str) -> None:
    """A large message there is left out by the broker, or ends the connection, and the door comes back."""
    with (
        Mosquitto(tmp_path) as broker,
        listening(config_for(broker)) as home,
        a_door(config_for(broker, protocol=protocol), tmp_path, make_discovery_message(FRONT)) as publisher,
    ):
        wait_until(lambda: home.count(CONFIG_TOPIC) == 1, "the introduction")
        home.say(b"x" * 100_000)
        home.say(b"online")
        wait_until(lambda: home.count(CONFIG_TOPIC) == 2, "the introduction again")
        wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")


def test_turning_it_off_leaves_nothing_behind(broker: AnyBroker, tmp_path: Path) -> None:
    with a_door(config_for(broker), tmp_path, make_discovery_message(FRONT)), listening(config_for(broker)) as home:
        wait_until(lambda: home.count(CONFIG_TOPIC) > 0, "the introduction")
    with listening(config_for(broker)) as home:
        wait_until(lambda: home.count(CONFIG_TOPIC) == 1, "the kept introduction")
        with a_door(config_for(broker), tmp_path, make_discovery_message(OFF)):
            wait_until(lambda: home.count(CONFIG_TOPIC) == 2, "the farewell")
    with listening(config_for(broker)) as later:
        wait_until(lambda: later.count(TOPICS.topic_for(Channel.STATUS)) == 1, "what is kept")
        assert later.count(CONFIG_TOPIC) == 0
