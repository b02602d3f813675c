"""Every message of a door, sent by a real publisher and received with its MQTT 5 properties."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from mqtt_contract.examples import EXAMPLES
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.core.config import OutboxConfig
from edge.core.uuid7 import Uuid7Source
from edge.events.schema import Challenge, Event, Health, OpenCommand, PresenceReport, ReleaseReport
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import ConnectionStatus
from edge.mqtt.publisher import Publisher
from edge.mqtt.send_queue import Snapshot
from edge.outbox.outbox import Outbox
from support.mqtt_brokers import Mosquitto, announce, config_for, wait_until

FRONT = Topics("home", "front")
PICTURE = b"\xff\xd8 a picture \xff\xd9"


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message; `expiry_s` is its remaining lifetime, None: unlimited."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    expiry_s: int | None


def receive_all_records(folder: Path, signing_key: str = "") -> list[ReceivedMessage]:
    """Publish every example of the contract and a picture over a real Mosquitto."""
    heard: list[ReceivedMessage] = []
    subscribed, over = threading.Event(), threading.Event()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
        heard.append(ReceivedMessage(message.topic, bytes(message.payload), message.qos, message.retain, expiry_s))
        if message.topic == FRONT.topic_for(Channel.STATUS) and b'"offline"' in message.payload:
            over.set()

    ear = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ear.on_message = on_message
    ear.on_subscribe = lambda *_: subscribed.set()
    with (
        Mosquitto(folder) as broker,
        Outbox(folder / "everything.sqlite", OutboxConfig(), announce=announce) as outbox,
    ):
        ear.connect("127.0.0.1", broker.port)
        ear.loop_start()
        ear.subscribe("threshold/#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        assert subscribed.wait(5)
        publisher = Publisher(
            config_for(broker, signing_key=signing_key), FRONT, outbox, on_open_expired=lambda *_: None
        )
        with publisher:
            wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")
            now_ns = time.monotonic_ns()
            for example in (example for examples in EXAMPLES.values() for example in examples):
                _publish(publisher, outbox, example.record, now_ns)
            publisher.snapshot(Snapshot(Uuid7Source().new(0), 1, PICTURE, now_ns + 60 * 10**9))
        assert over.wait(5)
        ear.disconnect()
        ear.loop_stop()
    return heard


def _publish(publisher: Publisher, outbox: Outbox, record: object, now_ns: int) -> None:
    if isinstance(record, Event):
        outbox.append(record)
    elif isinstance(record, OpenCommand):
        publisher.open(record, now_ns)
    elif isinstance(record, Challenge):
        publisher.challenge(record, now_ns + 6 * 10**9)
    elif isinstance(record, ReleaseReport):
        publisher.release(record)
    elif isinstance(record, PresenceReport):
        publisher.presence(record)
    elif isinstance(record, Health):
        publisher.health(record)
