"""The way from the broker to the hub: one thread that listens, and comes back when the broker does."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Message, Subscriber
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import BrokerStatus, Hub

log = logging.getLogger(__name__)

CHANNELS = [channel for channel in Channel if channel not in (Channel.OPEN,)]
MAX_QUEUED = 2000  # messages between the threads; then the broker has to wait
BATCH = 200  # messages taken in before pages get their turn
BACKOFF_S = (0.5, 10.0)
REFUSED_RETRY_S = 30.0  # between tries when the broker does not want us


@dataclass(frozen=True, slots=True, eq=False)
class FaceImage:
    """A picture that a door has published beside an event."""

    door: Topics
    event_id: str
    jpeg: bytes = field(repr=False)


class Listener:
    """Listens until closed.

    Args:
        mqtt: the broker.
        doors: whom to listen to.
        hub: told of everything, in its own thread.
        history: told of what is new.
        session: by what the broker keeps what comes while we are away; None: it keeps nothing.
        on_face: given the picture of every unknown visitor, after the event; None: they are not listened to.
    """

    def __init__(
        self,
        mqtt: MqttConfig,
        doors: Topics,
        hub: Hub,
        history: History,
        *,
        session: str | None = None,
        on_face: Callable[[FaceImage], None] | None = None,
    ) -> None:
        self._mqtt = mqtt
        self._doors = doors
        self._hub = hub
        self._history = history
        self._session = session
        self._on_face = on_face
        self._inbox: queue.Queue[tuple[Message | FaceImage, int]] = queue.Queue(MAX_QUEUED)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscriber: Subscriber | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)  # it may hang in a connect

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; what is heard goes to the hub in this loop."""
        self._loop = loop
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a connection that is being made is not waited for."""
        self._stop.set()
        if (subscriber := self._subscriber) is not None:
            subscriber.stop()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        pause_s = BACKOFF_S[0]
        while not self._stop.is_set():
            self._set_broker(BrokerStatus("connecting", ""), quiet=True)
            try:
                self._listen()
                pause_s = BACKOFF_S[0]
            except (BrokerError, ConfigError) as error:
                self._set_broker(BrokerStatus("away", str(error)))
                if "ended" in str(error) or "lost" in str(error):
                    pause_s = BACKOFF_S[0]
                self._stop.wait(REFUSED_RETRY_S if isinstance(error, BrokerRefusedError) else pause_s)
                pause_s = min(pause_s * 2, BACKOFF_S[1])

    def _listen(self) -> None:
        subscriber = self._subscriber = Subscriber(
            self._mqtt,
            self._doors,
            CHANNELS,
            session=self._session,
            on_snapshot=self._enqueue_face if self._on_face else None,
        )
        with subscriber:
            self._set_broker(BrokerStatus("connected", self._mqtt.url))
            for message in subscriber.messages():
                if self._stop.is_set():
                    return
                self._enqueue(message, time.time_ns())

    def _enqueue_face(self, door: Topics, event_id: str, jpeg: bytes) -> None:
        self._enqueue(FaceImage(door, event_id, jpeg), time.time_ns())

    def _enqueue(self, message: Message | FaceImage, received_ns: int) -> None:
        while not self._stop.is_set():
            try:
                self._inbox.put((message, received_ns), timeout=0.2)
            except queue.Full:
                continue
            if self._inbox.qsize() == 1:
                self._call(self._drain)
            return

    def _drain(self) -> None:
        """In the hub's thread."""
        for _ in range(BATCH):
            try:
                message, received_ns = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, FaceImage):
                name = self._hub.name(message.door.site, message.door.door)
                if self._on_face and self._hub.is_unknown(name, message.event_id):
                    self._on_face(message)
                continue
            if message.record is None:
                log.debug("%s: %s", message.topic, message.problem)
                continue
            door = message.door
            row = self._hub.on_message(door.site, door.door, message.record, received_ns // 1_000_000)
            if row is not None:
                self._history.add_event(row)
            elif message.channel == Channel.HEALTH and not message.retained:
                name = self._hub.name(door.site, door.door)
                for reading in self._hub.fleet.recent(name)[-1:]:
                    self._history.add_reading(name, reading)
        self._hub.set_lost(self._history.dropped)
        self._call(self._drain)

    def _set_broker(self, broker: BrokerStatus, *, quiet: bool = False) -> None:
        """To pages, and to the log what changed."""
        known = self._hub.broker
        if quiet and known.state == "away":
            return
        if broker != known and not quiet:
            if broker.state == "away":
                log.warning("%s; it is tried again", broker.why)
            else:
                log.info("%s: connected", broker.why)
        self._call(self._hub.set_broker, broker)

    def _call(self, act: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *arguments)
