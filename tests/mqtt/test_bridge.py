"""Two real Mosquittos, joined by the bridge of systemd/mosquitto/bridge.conf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from support.mqtt_brokers import Mosquitto, an_event, answers, free_port, needs_mosquitto, wait_until

from edge.events.schema import encode
from edge.events.topics import Channel, Topics, repo_topic

BRIDGE = Path(__file__).parents[2] / "systemd" / "mosquitto" / "bridge.conf"
FRONT = Topics("home", "front")
pytestmark = needs_mosquitto


class Ear:
    """Client that subscribes to everything and can publish; it shares no code with the package."""

    def __init__(self, port: int, name: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        self.client.on_message = self._hear
        subscribed: list[int] = []
        self.client.on_subscribe = lambda *_: subscribed.append(1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("#", qos=1)
        wait_until(lambda: bool(subscribed), "the subscription is confirmed")

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def topics(self) -> set[str]:
        return {topic for topic, _ in self.received}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def bridge_conf(centre: int) -> str:
    """The shipped file, for a central broker on this host without TLS."""
    lines = [line for line in BRIDGE.read_text().splitlines() if not re.match(r"bridge_(ca|cert|key)file", line)]
    return "\n".join(lines).replace("central.example.org:8883", f"127.0.0.1:{centre}")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[Mosquitto, Mosquitto]]:
    """The broker of the building and the central broker, both running."""
    centre = Mosquitto(tmp_path, conf=f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/\n")
    port = free_port()
    building = Mosquitto(
        tmp_path, port, conf=f"allow_anonymous true\nretry_interval 1\n{bridge_conf(centre.port)}\nrestart_timeout 1\n"
    )
    with centre, building:
        yield building, centre


def test_topics_that_the_bridge_forwards(
    brokers: tuple[Mosquitto, Mosquitto],
) -> None:
    building, centre = brokers
    door, desk = Ear(building.port, "door"), Ear(centre.port, "desk")
    wait_until(lambda: ("threshold-bridges/building-a", b"1") in desk.received, "the bridge has reached the centre")
    door.say(FRONT.topic_for(Channel.OPEN), b"open sesame")
    door.say(FRONT.topic_for(Channel.EVENTS), encode(an_event("through the bridge")))
    desk.say(repo_topic("home", "timestamp.json"), b"signed", retain=True)
    wait_until(lambda: FRONT.topic_for(Channel.EVENTS) in desk.topics(), "the event arrives at the centre")
    wait_until(lambda: repo_topic("home", "timestamp.json") in door.topics(), "the release arrives at the building")
    assert FRONT.topic_for(Channel.OPEN) in door.topics()
    assert FRONT.topic_for(Channel.OPEN) not in desk.topics()
    desk.say(FRONT.topic_for(Channel.OPEN), b"forged at the centre")
    desk.say(repo_topic("home", "root.json"), b"after it", retain=True)
    wait_until(lambda: repo_topic("home", "root.json") in door.topics(), "messages of the centre arrive in order")
    assert (FRONT.topic_for(Channel.OPEN), b"forged at the centre") not in door.received
    door.close()
    desk.close()


@pytest.mark.slow
def test_events_during_an_outage_arrive_later(brokers: tuple[Mosquitto, Mosquitto]) -> None:
    building, centre = brokers
    door, desk = Ear(building.port, "door"), Ear(centre.port, "desk")
    wait_until(lambda: ("threshold-bridges/building-a", b"1") in desk.received, "the bridge is connected")
    desk.close()
    centre.close()
    wait_until(lambda: not answers(centre.port), "the centre does not answer")
    told = [encode(an_event(f"number {number}")) for number in range(20)]
    for payload in told:
        door.say(FRONT.topic_for(Channel.EVENTS), payload)
    centre.start()
    back = Ear(centre.port, "desk")
    ids = [msgspec.json.decode(payload)["id"] for payload in told]

    def arrived() -> list[str]:
        return [msgspec.json.decode(payload)["id"] for topic, payload in back.received if topic.endswith("/events")]

    wait_until(lambda: len(arrived()) >= len(ids), "the events of the outage arrive at the centre", deadline_s=30)
    assert arrived() == ids
    door.close()
    back.close()
