"""Receives the messages of doors, for `edge events`, the demo and the monitor."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

from edge.core.clock import SYSTEM_CLOCK
from edge.core.config import MqttConfig
from edge.core.errors import BrokerError
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.schema import Record, decode
from edge.events.topics import MESSAGE_BYTES, SNAPSHOT_BYTES, Channel, Topics
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import IncomingMessage, PahoClient

QUEUE_MAX_AGE_S = 7 * 24 * 3600  # lifetime of a persistent session after its connection
POLL_S = 1.0  # longest single wait; keep-alive is checked after each


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a door.

    Attributes:
        topic: the full topic.
        door: site and door in the topic.
        channel: last part of the topic.
        payload: payload as received.
        record: decoded payload; None if it is not version 1 of the contract.
        problem: fault of the payload, or "".
        retained: whether the broker had retained the message, so that it may be old.
    """

    topic: str
    door: Topics
    channel: Channel
    payload: bytes
    record: Record | None
    problem: str
    retained: bool


class Subscriber:
    """Subscribes to doors; a context manager. All messages published after entering it are received.

    Args:
        config: broker.
        doors: doors to subscribe to; "+" as site or door means all.
        channels: channels to subscribe to.
        qos: QoS of the subscription; with 0 the broker does not wait for confirmations of a slow subscriber.
        session: name of a persistent session, for which the broker keeps messages of QoS 1 for `QUEUE_MAX_AGE_S` while
            it is disconnected; None: no session. A second subscriber with the same name ends the first connection.
        on_snapshot: called within `messages` with the door, the event id and the JPEG file of every snapshot; None:
            snapshots are not subscribed to. The QoS is 0, so that a broker keeps no face for a disconnected session.
    """

    def __init__(
        self,
        config: MqttConfig,
        doors: Topics | None = None,
        channels: Iterable[Channel] = tuple(Channel),
        *,
        qos: Literal[0, 1] = 1,
        session: str | None = None,
        on_snapshot: Callable[[Topics, str, bytes], None] | None = None,
    ) -> None:
        self._config = config
        self._doors = doors if doors is not None else Topics("+", "+")
        self._channels = tuple(channels)
        self._qos = qos
        self._session = session
        self._on_snapshot = on_snapshot
        self._client: PahoClient | None = None
        self._wakeup = WakeupPipe()
        self._stopping = False

    def start(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed the subscription.

        Raises:
            ConfigError: the [mqtt] table cannot be used.
            BrokerError: the broker cannot be reached, or refuses the login or the topics.
        """
        client, _ = connect(
            self._config,
            client_id=f"threshold-listen-{self._session or uuid.uuid4().hex[:12]}",
            max_packet_bytes=SNAPSHOT_BYTES if self._on_snapshot else MESSAGE_BYTES,
            session_s=None if self._session is None else QUEUE_MAX_AGE_S,
        )
        try:
            client.subscribe([self._doors.topic_for(channel) for channel in self._channels], qos=self._qos)
            if self._on_snapshot:
                client.subscribe([self._doors.snapshot("+")], qos=0)
        except BaseException:
            client.abort()
            raise
        self._client = client
        self._wakeup.open()

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Yield messages as they arrive, until `timeout_s` from now (None: no limit) or until `stop`.

        Raises:
            BrokerError: the connection has ended, and all received messages were yielded.
        """
        if self._client is None:
            raise BrokerError("not connected: call start first, or use 'with'")
        deadline_ns = None if timeout_s is None else SYSTEM_CLOCK.monotonic_ns() + round(timeout_s * 1e9)
        ended: BrokerError | None = None
        while True:
            for incoming in self._client.take_messages():
                message = decode_message(incoming)
                if message is not None:
                    yield message
                elif self._on_snapshot and (named := Topics.split_snapshot(incoming.topic)):
                    self._on_snapshot(*named, incoming.payload)
            if ended is not None:
                raise ended
            left_s = POLL_S if deadline_ns is None else (deadline_ns - SYSTEM_CLOCK.monotonic_ns()) / 1e9
            if self._stopping or left_s <= 0:
                return
            try:
                self._client.poll(min(left_s, POLL_S), self._wakeup)
            except BrokerError as error:
                ended = error  # raised after the remaining messages

    def stop(self) -> None:
        """End `messages`; may be called from another thread."""
        self._stopping = True
        self._wakeup.notify()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._wakeup.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decode_message(incoming: IncomingMessage) -> Message | None:
    """Decode a message as far as possible; None for a topic of something else."""
    parts = Topics.parse(incoming.topic)
    if parts is None:
        return None
    door, channel = parts
    record, problem = None, ""
    try:
        record = decode(channel, incoming.payload)
    except ValueError as error:
        problem = str(error)
    return Message(incoming.topic, door, channel, incoming.payload, record, problem, incoming.retained)
