"""Runs a complete daemon in this process: configuration, camera images, and its messages and stored events."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2
import msgspec
import numpy as np

from edge.core.config import CameraConfig, DoorConfig, MqttConfig, OutboxConfig
from edge.demo.run_demo import CLIP, GALLERY
from edge.events.schema import Event
from edge.mqtt.subscriber import Message, Subscriber
from edge.outbox.outbox import Outbox
from edge.runtime.daemon import Daemon
from edge.vision.camera_file import VideoFileCamera
from support.fake_camera import jpeg

R = TypeVar("R")


def door_config(state: Path, source: str | Path, mqtt: MqttConfig, **changes: object) -> DoorConfig:
    """Configuration of a door that samples every frame, so that a short clip is enough."""
    config = DoorConfig(
        site="test",
        door="front",
        state_folder=str(state),
        gallery=str(GALLERY),
        camera=CameraConfig(source=str(source), lost_after_s=1.0),
        mqtt=mqtt,
    )
    quick = msgspec.structs.replace(config.recognition, sample_every_s=0.0)
    return msgspec.structs.replace(config, recognition=quick, **changes)


@contextmanager
def listening(mqtt: MqttConfig) -> Iterator[list[Message]]:
    """Collect all messages of the doors while the block runs."""
    received: list[Message] = []
    with Subscriber(mqtt) as subscriber:
        thread = threading.Thread(target=lambda: received.extend(subscriber.messages()))
        thread.start()
        try:
            yield received
        finally:
            subscriber.stop()
            thread.join()


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Run a daemon in a thread until the block ends; it must then stop within 20 s."""
    stop = threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    try:
        yield daemon
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def records(received: list[Message], kind: type[R]) -> list[R]:
    """The records of one kind, in order of arrival."""
    return [message.record for message in received if isinstance(message.record, kind)]


def stored_events(state: Path) -> list[Event]:
    """The events in the outbox of a state folder, oldest first."""

    def never(count: int) -> Event:
        raise AssertionError(f"{count} events were dropped")

    with Outbox(state / "outbox.sqlite", OutboxConfig(), announce=never) as outbox:
        return outbox.recent(100)[::-1]


def empty_scene() -> list[bytes]:
    """JPEG images of the empty scene of the bundled clip, each with different noise."""
    noise = np.random.default_rng(6).integers(0, 9, (4, 480, 640, 3)).astype(np.uint8)
    with VideoFileCamera(CLIP) as clip:
        empty = next(iter(clip)).pixels.copy()
    return [jpeg(np.asarray(cv2.add(empty, part), np.uint8)) for part in noise]


def fast_clip(path: Path, first: int, count: int) -> Path:
    """Write frames of the bundled clip as a clip at three times the speed."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 45, (640, 480))
    with VideoFileCamera(CLIP) as clip:
        for frame in itertools.islice(clip, first, first + count):
            writer.write(frame.pixels)
    writer.release()
    return path


def visitor_frames(first: int = 20, last: int = 50) -> list[bytes]:
    """JPEG images of the enrolled person of the bundled clip."""
    with VideoFileCamera(CLIP) as clip:
        return [jpeg(frame.pixels) for frame in itertools.islice(clip, first, last)]
