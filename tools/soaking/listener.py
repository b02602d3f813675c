"""Somebody at the other end of the broker who writes down all that arrives; not our own subscriber, but plain paho.

Events go to one with a lasting session, so that what the broker takes while he is away waits for him; openings to one
without, as a lock should listen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.core.errors import BrokerError
from edge.events.schema import Event, OpenCommand, decode, encode
from edge.events.topics import Channel, Topics
from soaking.judge import ReceivedEvent, ReceivedOpen

KEPT_S = 7 * 24 * 3600
ANSWER_S = 60.0
AGAIN_S = 0.05  # between attempts to come back: sooner than the door, for no lock hears what was said before it


class Listener:
    """One who listens, and comes back by himself when the broker does.

    Args:
        port: of the broker, on this machine.
        name: his client id.
        topic: what he listens to.
        lasting: whether the broker keeps his session while he is away.
        hear: given the wall-clock time of arrival (seconds), the payload, and whether it was retained.
    """

    def __init__(
        self, port: int, name: str, topic: str, *, lasting: bool, hear: Callable[[float, bytes, bool], None]
    ) -> None:
        self._port = port
        self._topic = topic
        self._echo = f"soak/{name}"
        self._lasting = lasting
        self._hear = hear
        self._there = threading.Event()
        self._echoed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(AGAIN_S, AGAIN_S)  # type: ignore[arg-type]  # it takes fractions as well
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._connected
        self._client.on_message = self._message
        self._client.on_subscribe = lambda *_: self._there.set()
        self._client.on_disconnect = lambda *_: self._there.clear()

    def start(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = KEPT_S if self._lasting else 0
        self._client.connect(
            "127.0.0.1", self._port, keepalive=3600, clean_start=not self._lasting, properties=properties
        )
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Until he is connected and has all that the broker had for him: what he says to himself has come back.

        Raises:
            BrokerError: not in time.
        """
        deadline = time.monotonic() + ANSWER_S
        self._echoed.clear()
        while time.monotonic() < deadline:
            if self._there.wait(0.05):
                self._client.publish(self._echo, b"", qos=0)
                if self._echoed.wait(0.5):
                    return
        raise BrokerError(f"{self._echo}: the broker does not come back")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(self._topic, SubscribeOptions(qos=1)), (self._echo, SubscribeOptions(qos=0))])

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        at_s = time.time()
        if message.topic == self._echo:
            self._echoed.set()
            return
        self._hear(at_s, bytes(message.payload), message.retain)


class Record:
    """All that arrived from one door, in the order of arrival.

    Args:
        port: of the broker.
        door: whom to listen to.
        now_s: the clock of the door's own instants, given the wall-clock time of arrival.

    Attributes:
        events: every copy.
        openings: those that came.
        unreadable: messages that are not version 1 of the contract.
    """

    def __init__(self, port: int, door: Topics, now_s: Callable[[float], float] = lambda at_s: at_s) -> None:
        self.events: list[ReceivedEvent] = []
        self.openings: list[ReceivedOpen] = []
        self.unreadable = 0
        self._now_s = now_s
        self._listeners = [
            Listener(port, "soak-events", door.topic_for(Channel.EVENTS), lasting=True, hear=self._event),
            Listener(port, "soak-open", door.topic_for(Channel.OPEN), lasting=False, hear=self._open),
        ]

    def start(self) -> None:
        for listener in self._listeners:
            listener.start()

    def wait(self) -> None:
        """Until every listener is there and has all that the broker had for him."""
        for listener in self._listeners:
            listener.wait()

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _event(self, _at_s: float, payload: bytes, _retained: bool) -> None:
        event = self._decoded(Channel.EVENTS, payload)
        if isinstance(event, Event):
            body = encode(msgspec.structs.replace(event, published_at=None)).decode()
            self.events.append(ReceivedEvent(event.seq, event.id, body, event.dropped or 0))

    def _open(self, at_s: float, payload: bytes, retained: bool) -> None:
        message = self._decoded(Channel.OPEN, payload)
        if isinstance(message, OpenCommand):
            expires_s = datetime.fromisoformat(message.expires_at).timestamp()
            self.openings.append(ReceivedOpen(message.seq, message.id, self._now_s(at_s), expires_s, retained))

    def _decoded(self, channel: Channel, payload: bytes) -> Event | OpenCommand | None:
        try:
            record = decode(channel, payload)
        except ValueError:
            self.unreadable += 1
            return None
        assert isinstance(record, Event | OpenCommand)
        return record
