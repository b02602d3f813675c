"""Records every message of one door; uses plain paho, not `edge.mqtt`.

Events are received with a persistent session, open commands without one, as a lock should do.
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
from soak.invariants import ReceivedEvent, ReceivedOpen

SESSION_EXPIRY_S = 7 * 24 * 3600
DEADLINE_S = 60.0
RECONNECT_S = 0.05  # sooner than the door: without a session, earlier open commands are not received


class Listener:
    """MQTT client that reconnects automatically.

    Args:
        port: port of the broker on this machine.
        name: client id.
        topic: topic to subscribe to.
        persistent: whether the broker keeps the session while the client is away.
        on_message: function that receives the wall-clock time of arrival (seconds), the payload, and whether the
            message was retained.
    """

    def __init__(
        self, port: int, name: str, topic: str, *, persistent: bool, on_message: Callable[[float, bytes, bool], None]
    ) -> None:
        self._port = port
        self._topic = topic
        self._echo = f"soak/{name}"
        self._persistent = persistent
        self._on_message = on_message
        self._subscribed = threading.Event()
        self._echoed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(RECONNECT_S, RECONNECT_S)  # type: ignore[arg-type]  # fractions work, too
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._connected
        self._client.on_message = self._message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()

    def start(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S if self._persistent else 0
        self._client.connect(
            "127.0.0.1", self._port, keepalive=3600, clean_start=not self._persistent, properties=properties
        )
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Wait until the client is connected and has received everything: its message to itself has returned.

        Raises:
            BrokerError: this did not happen within DEADLINE_S.
        """
        deadline = time.monotonic() + DEADLINE_S
        self._echoed.clear()
        while time.monotonic() < deadline:
            if self._subscribed.wait(0.05):
                self._client.publish(self._echo, b"", qos=0)
                if self._echoed.wait(0.5):
                    return
        raise BrokerError(f"{self._echo}: the broker does not answer")

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
        self._on_message(at_s, bytes(message.payload), message.retain)


class Recording:
    """All messages of one door, in the order of arrival.

    Args:
        port: port of the broker.
        door: topics of the door.
        now_s: function that converts the wall-clock time of arrival to the door's clock.

    Attributes:
        events: every copy of every event.
        opens: open commands.
        unreadable: messages that are not version 1 of the contract.
    """

    def __init__(self, port: int, door: Topics, now_s: Callable[[float], float] = lambda at_s: at_s) -> None:
        self.events: list[ReceivedEvent] = []
        self.opens: list[ReceivedOpen] = []
        self.unreadable = 0
        self._now_s = now_s
        self._listeners = [
            Listener(port, "soak-events", door.topic_for(Channel.EVENTS), persistent=True, on_message=self._event),
            Listener(port, "soak-open", door.topic_for(Channel.OPEN), persistent=False, on_message=self._open),
        ]

    def start(self) -> None:
        for listener in self._listeners:
            listener.start()

    def wait(self) -> None:
        """Wait until every client is connected and has received everything."""
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
            self.opens.append(ReceivedOpen(message.seq, message.id, self._now_s(at_s), expires_s, retained))

    def _decoded(self, channel: Channel, payload: bytes) -> Event | OpenCommand | None:
        try:
            record = decode(channel, payload)
        except ValueError:
            self.unreadable += 1
            return None
        assert isinstance(record, Event | OpenCommand)
        return record
