"""Listening to doors: what `edge events` prints and the demo waits for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError
from edge.events.schema import Record, decode
from edge.events.topics import MESSAGE_BYTES, SNAPSHOT_BYTES, Channel, Topics
from edge.mqtt.connect import connect
from edge.mqtt.connection import Connection
from edge.mqtt.messages import IncomingMessage
from edge.mqtt.wakeup_pipe import WakeupPipe

QUEUE_MAX_AGE_S = 7 * 24 * 3600  # a lasting session outlives its connection by so long
POLL_S = 1.0  # the longest wait at once; keep-alive is looked after at each waking


@dataclass(frozen=True, slots=True)
class Message:
    """Something a door has published.

    Attributes:
        topic: the full topic.
        door: the site and door in it.
        channel: its last part.
        payload: as received.
        record: the payload decoded, or None if it is not version 1 of the contract.
        problem: what is wrong with it, or "".
        retained: whether the broker had kept it, so that it may be old.
    """

    topic: str
    door: Topics
    channel: Channel
    payload: bytes
    record: Record | None
    problem: str
    retained: bool


class Subscriber:
    """A connection that listens; a context manager. Once entered, nothing published later is missed.

    Args:
        config: the broker.
        doors: whom to listen to; "+" as site or door means all.
        channels: what to listen to.
        qos: 0 lets the broker pass on at once what a slow listener with 1 would have to confirm first, in portions.
        session: a name of our own by which the broker keeps what comes with QoS 1 while we are away, for
            `QUEUE_MAX_AGE_S`; None: it keeps nothing. A second listener with the same name ends the first's connection.
        on_snapshot: given the door, the event's id and the JPEG file of every picture, within `messages`; None: they
            are not listened to. With QoS 0, so that a broker keeps no face for a session that is away.
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
        self._connection: Connection | None = None
        self._waker = WakeupPipe()
        self._stopping = False

    def start(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it.

        Raises:
            ConfigError: the [mqtt] table cannot be used.
            BrokerError: the broker cannot be reached, or refuses the login or the topics.
        """
        connection, _ = connect(
            self._config,
            client_id=f"threshold-listen-{self._session or uuid.uuid4().hex[:12]}",
            max_packet_bytes=SNAPSHOT_BYTES if self._on_snapshot else MESSAGE_BYTES,
            session_s=None if self._session is None else QUEUE_MAX_AGE_S,
        )
        try:
            connection.subscribe([self._doors.topic_for(channel) for channel in self._channels], qos=self._qos)
            if self._on_snapshot:
                connection.subscribe([self._doors.snapshot("+")], qos=0)
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
        self._waker.open()

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """What comes in, as it comes, until `timeout_s` from now (None: for ever) or until `stop`.

        Raises:
            BrokerError: the connection has ended; everything that it brought was given before.
        """
        if self._connection is None:
            raise BrokerError("not connected: call start first, or use 'with'")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ended: BrokerError | None = None
        while True:
            for incoming in self._connection.messages():
                message = _decode(incoming)
                if message is not None:
                    yield message
                elif self._on_snapshot and (named := Topics.split_snapshot(incoming.topic)):
                    self._on_snapshot(*named, incoming.payload)
            if ended is not None:
                raise ended
            left_s = POLL_S if deadline is None else deadline - time.monotonic()
            if self._stopping or left_s <= 0:
                return
            try:
                self._connection.poll(min(left_s, POLL_S), self._waker)
            except BrokerError as error:
                ended = error  # after what it still brought

    def stop(self) -> None:
        """End `messages`; may be called from another thread."""
        self._stopping = True
        self._waker.notify()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._waker.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _decode(incoming: IncomingMessage) -> Message | None:
    """The message, decoded as far as possible; None for a topic that is not a door's."""
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
