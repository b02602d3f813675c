"""Frozen, blind or missing camera: it is reported once, the door stays closed, and it recovers without restart."""

from __future__ import annotations

import itertools
import logging
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from support.daemon_runs import running
from support.fake_camera import Webcam, jpeg
from support.mqtt_brokers import Mosquitto, config_for, free_port, make_broker, wait_until

from edge.core.config import CameraConfig, CameraHealthConfig, DoorConfig, MqttConfig, OutboxConfig
from edge.core.records import BgrImage
from edge.demo.run_demo import CLIP, GALLERY
from edge.events.schema import Event, EventKind, Health
from edge.events.topics import Topics
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox
from edge.runtime.daemon import Daemon
from edge.vision.camera import redact_url
from edge.vision.camera_file import VideoFileCamera

QUICK = CameraHealthConfig(blind_after_s=0.2, recovered_after_s=0.2, frozen_after_s=0.4)


@pytest.fixture(scope="module")
def walk() -> list[BgrImage]:
    """The enrolled person of the bundled clip walks up."""
    with VideoFileCamera(CLIP) as clip:
        return [frame.pixels.copy() for frame in itertools.islice(clip, 60)]


@pytest.fixture
def webcam(walk: list[BgrImage]) -> Iterator[Webcam]:
    """A camera with an empty scene and noise."""
    grain = np.random.default_rng(6).integers(0, 9, (4, *walk[0].shape)).astype(np.uint8)
    made = Webcam([jpeg(np.asarray(cv2.add(walk[0], part), np.uint8)) for part in grain])
    yield made
    made.unplug()


def door(state: Path, source: str, mqtt: MqttConfig | None = None, sight: CameraHealthConfig = QUICK) -> DoorConfig:
    config = DoorConfig(
        site="test",
        door="front",
        state_folder=str(state),
        gallery=str(GALLERY),
        camera=CameraConfig(source=source, lost_after_s=1.0),
        mqtt=mqtt or MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"),
        camera_health=sight,
    )
    return msgspec.structs.replace(config, recognition=msgspec.structs.replace(config.recognition, sample_every_s=0.0))


def told(state: Path) -> list[Event]:
    with Outbox(state / "outbox.sqlite", OutboxConfig(), announce=_never) as outbox:
        return outbox.recent(100)[::-1]


def _never(count: int) -> Event:
    raise AssertionError(f"{count} events were dropped")


def in_state(daemon: Daemon, state: str) -> Callable[[], bool]:
    return lambda: daemon.camera_state == state


def test_report_and_recovery_of_a_frozen_camera(
    tmp_path: Path, webcam: Webcam, walk: list[BgrImage], caplog: pytest.LogCaptureFixture
) -> None:
    scene = webcam.pictures
    webcam.plug()
    with running(Daemon(door(tmp_path, webcam.url))) as daemon:
        wait_until(in_state(daemon, "working"), "frames")
        webcam.show(jpeg(walk[0]))
        wait_until(in_state(daemon, "blind"), "the freeze is noticed")
        wait_until(lambda: webcam.connections >= 3, "it is reopened twice", 20)
        webcam.show(*scene)
        wait_until(in_state(daemon, "working"), "it sees again")
    assert [event.kind for event in told(tmp_path)] == ["started", "camera-blind", "camera-sees", "stopped"]
    assert told(tmp_path)[1].reason == "image-frozen"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("blind" in message for message in warnings) == 1


def test_black_picture_in_events_and_health(tmp_path: Path, webcam: Webcam, walk: list[BgrImage]) -> None:
    scene = webcam.pictures
    with make_broker("mosquitto", tmp_path) as broker:
        assert isinstance(broker, Mosquitto)
        mqtt = msgspec.structs.replace(config_for(broker), health_every_s=0.1)
        webcam.plug()
        sight = CameraHealthConfig(blind_after_s=0.2, recovered_after_s=0.2)
        with (
            running(Daemon(door(tmp_path, webcam.url, mqtt, sight))) as daemon,
            Subscriber(mqtt, Topics("+", "+")) as received,
        ):
            wait_until(in_state(daemon, "working"), "frames")
            webcam.show(jpeg(np.full_like(walk[0], 3)))
            seen = (message.record for message in received.messages(timeout_s=10))
            health = next(record for record in seen if isinstance(record, Health) and record.camera == "blind")
            webcam.show(*scene)
            wait_until(in_state(daemon, "working"), "it sees again")
    assert any(f"camera {redact_url(webcam.url)} is black" in problem for problem in health.problems)
    kinds = [event.kind for event in told(tmp_path)]
    assert kinds == ["started", "camera-blind", "camera-sees", "stopped"]


def test_no_opening_by_a_frozen_picture(
    tmp_path: Path, webcam: Webcam, walk: list[BgrImage], caplog: pytest.LogCaptureFixture
) -> None:
    """It neither opens at the start, as after a restart of the service, nor after the camera is reopened."""
    caplog.set_level(logging.INFO)
    visitor = [jpeg(picture) for picture in walk[20:50]]
    webcam.show(visitor[-1])
    webcam.plug()
    with running(Daemon(door(tmp_path, webcam.url))) as daemon:
        wait_until(lambda: webcam.connections >= 3, "it is reopened twice", 20)
        wait_until(in_state(daemon, "blind"), "it is blind")
        assert "door-open" not in caplog.text
        webcam.show(*visitor)
        wait_until(lambda: "door-open" in caplog.text, "the door opens")
    assert [event.kind for event in told(tmp_path)][:2] == ["started", "camera-blind"]


def test_camera_missing_at_the_start(
    tmp_path: Path, webcam: Webcam, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service runs, reports the missing camera and feeds its watchdog, because a restart would not help."""
    caplog.set_level(logging.DEBUG, "edge.runtime.camera_supervisor")
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        with running(Daemon(door(tmp_path, webcam.url))) as daemon:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            wait_until(lambda: any(record.levelno == logging.DEBUG for record in caplog.records), "another attempt")
            assert daemon.camera_state == "lost"
            webcam.plug()
            wait_until(in_state(daemon, "working"), "frames", 20)
    assert [event.kind for event in told(tmp_path)] == ["started", "camera-lost", "camera-back", "stopped"]


def test_time_of_decisions_at_the_loss_of_camera(
    tmp_path: Path, webcam: Webcam, walk: list[BgrImage], photo: Callable[[str], BgrImage]
) -> None:
    """A stranger was in front of the door when frames stopped; the decision has the time of the last frame."""
    stranger = [walk[number].copy() for number in range(4)]
    face = photo("biden")[:480, :640]
    for shift, picture in enumerate(stranger):
        picture[: face.shape[0], shift * 2 : shift * 2 + face.shape[1]] = face[:, : 640 - shift * 2]
    config = door(tmp_path, webcam.url)
    patient = msgspec.structs.replace(config.recognition, unknown_samples=1000)
    webcam.show(*map(jpeg, stranger))
    webcam.plug()
    with running(Daemon(msgspec.structs.replace(config, recognition=patient))) as daemon:
        wait_until(lambda: daemon.frames > 20, "frames are processed")
        webcam.show()
        wait_until(in_state(daemon, "lost"), "the loss is noticed")
    by_kind = {event.kind: datetime.fromisoformat(event.at) for event in told(tmp_path)}
    assert (by_kind[EventKind.CAMERA_LOST] - by_kind[EventKind.UNKNOWN]).total_seconds() > 0.9


def test_recording_of_one_picture(tmp_path: Path, walk: list[BgrImage]) -> None:
    """A folder of equal stills is not a frozen camera; each still is processed."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.jpg").write_bytes(jpeg(walk[49]))
    with running(Daemon(door(tmp_path, str(folder)))) as daemon:
        wait_until(lambda: daemon.frames == 20, "the last still")
    assert [event.kind for event in told(tmp_path)][:2] == ["started", "door-open"]
