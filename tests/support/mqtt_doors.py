"""A publisher with its outbox, and a subscriber."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.core.config import MqttConfig
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.events.schema import (
    VERSION,
    CameraState,
    Event,
    Health,
    OpenCommand,
    PersonRef,
)
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import ConnectionStatus, connect
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Message, Subscriber
from edge.outbox.outbox import Outbox
from support.mqtt_brokers import (
    DOOR,
    IDS,
    T0_NS,
    an_event,
    wait_until,
)

FRONT = Topics("home", "front")
QUICK = (0.02, 0.1)  # back-off between attempts, in seconds


@dataclass
class Door:
    """A publisher and its results of openings."""

    publisher: Publisher
    expired: list[tuple[OpenCommand, Reason]] = field(default_factory=list)

    def online(self) -> None:
        wait_until(lambda: self.publisher.state.status is ConnectionStatus.ONLINE, "online")


@contextlib.contextmanager
def a_door(config: MqttConfig, outbox: Outbox, backoff_s: tuple[float, float] = QUICK) -> Iterator[Door]:
    expired: list[tuple[OpenCommand, Reason]] = []
    publisher = Publisher(
        config,
        FRONT,
        outbox,
        on_open_expired=lambda message, reason, _: expired.append((message, reason)),
        backoff_s=backoff_s,
    )
    with publisher:
        yield Door(publisher, expired)


def an_open_command() -> OpenCommand:
    return OpenCommand(
        v=VERSION,
        id=IDS.new(T0_NS // 10**6),
        seq=1,
        door="front",
        person=PersonRef(id="ada", name="Ada"),
        at=format_unix_ns(T0_NS),
        expires_at=format_unix_ns(T0_NS),
    )


def fill(outbox: Outbox, count: int) -> list[str]:
    """Append events and return their ids."""
    events = [an_event(str(number)) for number in range(count)]
    for event in events:
        outbox.append(event)
    return [event.id for event in events]


def receive(subscriber: Subscriber, count: int, timeout_s: float = 8.0) -> list[Message]:
    """Return the next `count` messages."""
    received: list[Message] = []
    for message in subscriber.messages(timeout_s):
        received.append(message)
        if len(received) == count:
            return received
    raise AssertionError(f"only {len(received)} of {count} messages within {timeout_s:g} s")


def ids(messages: list[Message]) -> list[str]:
    return [message.record.id for message in messages if isinstance(message.record, Event)]


def listen(config: MqttConfig, *channels: Channel) -> Subscriber:
    """Return a subscriber that also receives the marks of `until_now`."""
    return Subscriber(config, Topics("+", "+"), {*channels, Channel.HEALTH})


def until_now(subscriber: Subscriber, config: MqttConfig) -> list[Message]:
    """Return the messages that arrived before a mark that is published now; shows silence without a wait."""
    mark = Topics("test", "mark")
    connection, _ = connect(config, client_id="mark")
    connection.publish(mark.topic_for(Channel.HEALTH), b"mark", qos=1)
    while not connection.take_acks():
        connection.poll(0.1)
    connection.close()
    received: list[Message] = []
    for message in subscriber.messages(8.0):
        if message.door == mark:
            return received
        received.append(message)
    raise AssertionError("the mark was not received")


def a_report(frames: int) -> Health:
    return Health(
        v=VERSION,
        door=DOOR.door,
        at=format_unix_ns(T0_NS),
        uptime_s=1.0,
        camera=CameraState.WORKING,
        fps=15.0,
        frames=frames,
        dropped=0,
        stages={},
        rejects={},
        temperature_c=None,
        outbox_depth=0,
        gallery=None,
        models={},
        problems=(),
    )
