"""Runs a whole door in one process: the bundled clip as its camera, a real broker, and a subscriber."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from edge.core.config import CameraConfig, DoorConfig, MqttConfig
from edge.events.schema import Event, EventKind
from edge.events.topics import Channel, Topics
from edge.mqtt.embedded_broker import EmbeddedBroker
from edge.mqtt.subscriber import Message, Subscriber
from edge.runtime.daemon import Daemon

FOLDER = Path(__file__).resolve().parent
CLIP = FOLDER / "door.mp4"
GALLERY = FOLDER / "gallery.safetensors"
_DOOR = Topics("demo", "front")
_PATIENCE_S = 120.0  # a slow machine takes longer than the clip


def run_demo(broker: str | None) -> Iterator[Message]:
    """Yield the door's events as a subscriber receives them, until the clip has ended.

    Args:
        broker: address of a broker to use, or None to start one inside this process.

    Raises:
        BrokerError, InputError: the broker cannot be reached or started, or a bundled file is damaged.
    """
    with ExitStack() as stack:
        if broker:
            mqtt = MqttConfig(url=broker)
        else:
            mqtt = MqttConfig(url=stack.enter_context(EmbeddedBroker()).url, protocol="3.1.1")  # its only version
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="threshold-demo-"))
        daemon = Daemon(
            DoorConfig(
                site=_DOOR.site,
                door=_DOOR.door,
                state_folder=state,
                gallery=str(GALLERY),
                camera=CameraConfig(source=str(CLIP)),
                mqtt=mqtt,
            )
        )
        subscriber = stack.enter_context(Subscriber(mqtt, _DOOR, [Channel.EVENTS]))
        stop = threading.Event()
        thread = threading.Thread(target=daemon.run, args=(stop,), name="door")
        stack.callback(thread.join)
        stack.callback(stop.set)
        thread.start()
        for message in subscriber.messages(_PATIENCE_S):
            if isinstance(message.record, Event):
                yield message
                if message.record.kind is EventKind.STOPPED:
                    return
