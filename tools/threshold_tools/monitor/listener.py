"""Subscribes to all doors in one thread, and passes their messages to the hub; reconnects with back-off."""

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
from threshold_tools.monitor.fleet import door_name
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import BrokerStatus, Hub

log = logging.getLogger(__name__)

CHANNELS = [channel for channel in Channel if channel is not Channel.OPEN]
MAX_QUEUED = 2000  # messages between the threads; when full, nothing is read from the broker
BATCH = 200  # messages processed before the event loop continues with pages
BACKOFF_S = (0.5, 10.0)
REFUSED_RETRY_S = 30.0  # before the next attempt when the broker refuses the connection


@dataclass(frozen=True, slots=True, eq=False)
class FaceImage:
    """A face image that a door has published with an event."""

    door: Topics
    event_id: str
    jpeg: bytes = field(repr=False)


class Listener:
    """Receives the doors' messages until closed."""

    def __init__(
        self,
        mqtt: MqttConfig,
        doors: Topics,  # doors to subscribe to; "+" matches all
        hub: Hub,  # receives every message, in the thread of the event loop
        history: History,  # receives new events and health samples
        *,
        session: str
        | None = None,  # name of a persistent session at the broker; None: messages during an absence are lost
        on_face: Callable[[FaceImage], None] | None = None,  # receives face images of unknown visitors
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
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)  # a connect may block

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; the hub is called in this loop."""
        self._loop = loop
        self._thread.start()

    def close(self) -> None:
        """Stop, without waiting for a connection attempt."""
        self._stop.set()
        if (subscriber := self._subscriber) is not None:
            subscriber.stop()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        pause_s = BACKOFF_S[0]
        while not self._stop.is_set():
            if self._hub.broker.state != "disconnected":  # pages show the reason until the broker is back
                self._call(self._hub.set_broker, BrokerStatus("connecting", ""))
            try:
                self._listen()
                pause_s = BACKOFF_S[0]
            except (BrokerError, ConfigError) as error:
                if self._hub.broker != (status := BrokerStatus("disconnected", str(error))):
                    log.warning("%s; retrying", error)
                self._call(self._hub.set_broker, status)
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
            on_snapshot=(lambda *parts: self._enqueue(FaceImage(*parts))) if self._on_face else None,
        )
        with subscriber:
            log.info("%s: connected", self._mqtt.url)
            self._call(self._hub.set_broker, BrokerStatus("connected", self._mqtt.url))
            for message in subscriber.messages():
                if self._stop.is_set():
                    return
                self._enqueue(message)

    def _enqueue(self, message: Message | FaceImage) -> None:
        received_ns = time.time_ns()
        while not self._stop.is_set():
            try:
                self._inbox.put((message, received_ns), timeout=0.2)
            except queue.Full:
                continue
            if self._inbox.qsize() == 1:
                self._call(self._drain)
            return

    def _drain(self) -> None:
        """Process a batch, in the thread of the hub."""
        for _ in range(BATCH):
            try:
                message, received_ns = self._inbox.get_nowait()
            except queue.Empty:
                return
            name = door_name(message.door.site, message.door.door)
            if isinstance(message, FaceImage):
                if self._on_face and self._hub.is_unknown(name, message.event_id):
                    self._on_face(message)
            elif message.channel == Channel.STATUS and not message.payload:
                self._hub.forget(name)
                self._history.forget(name, received_ns // 1_000_000)
            elif message.record is None:
                log.debug("%s: %s", message.topic, message.problem)
            else:
                door = message.door
                row = self._hub.on_message(door.site, door.door, message.record, received_ns // 1_000_000)
                if row is not None:
                    self._history.add_event(row)
                elif message.channel == Channel.HEALTH and not message.retained:
                    for sample in self._hub.fleet.recent(name)[-1:]:
                        self._history.add_health(name, sample)
        self._hub.set_lost(self._history.dropped)
        self._call(self._drain)

    def _call(self, act: Callable[..., None], *arguments: object) -> None:
        """Call a function in the thread of the hub."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *arguments)
