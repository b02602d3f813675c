"""Pictures of faces with events: of which visitors and events, and where they are not stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon_runs import door_config, fast_clip, records, stored_events
from support.monitor_fleet import FleetPublisher, an_event
from support.mqtt_brokers import (
    AnyBroker,
    Mosquitto,
    config_for,
    free_port,
    needs_mosquitto,
    wait_until,
)

from edge.core.config import MqttConfig, SnapshotsConfig
from edge.core.reasons import Reason
from edge.core.records import (
    AccessOutcome,
    Box,
    Decision,
    Face,
    FloatArray,
    Frame,
    Identification,
    Match,
    Quality,
    Sample,
    Track,
    Verdict,
)
from edge.diagnostics.check import check
from edge.diagnostics.report import State
from edge.events.schema import Event, EventKind
from edge.events.topics import Topics
from edge.mqtt.send_queue import Snapshot
from edge.mqtt.subscriber import Message, Subscriber
from edge.runtime.daemon import Daemon
from edge.runtime.snapshots import SnapshotBuffer, crop, downscale
from edge.vision.face_sampler import VisionStages

JPEG = b"\xff\xd8\xff"
ROOM = np.zeros((480, 640, 3), np.uint8)
ADA, BOB = np.eye(192, dtype=np.float32)[:2]
ON = SnapshotsConfig(kinds=("unknown",))
SAME_FACE_SQ = 1.2
FACE = Box(300, 200, 380, 280)


def a_track(id_: int = 1) -> Track:
    return Track(id_, Face(FACE, np.zeros((6, 2), np.float32), 0.9), 0, 0, 1)


def a_sample(embedding: FloatArray | None, quality: float) -> Sample:
    return Sample(embedding, Quality(quality, 40.0, 0.0, 0.0, 0.0, 50.0), None)


def a_decision(embedding: FloatArray, kind: AccessOutcome = AccessOutcome.UNKNOWN, id_: int = 1) -> Decision:
    match = Match(None, 4.0, 1.0, 4.0)
    return Decision(
        kind,
        "rule",
        Verdict(Identification.UNKNOWN, a_track(id_), match, embedding, 3, 0.5, Reason.BEYOND_THRESHOLD, 0),
        0,
    )


def grey(jpeg: bytes | None) -> int:
    """Mean grey level of a picture of one colour."""
    assert jpeg is not None
    return round(float(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)).mean()))


def look(album: SnapshotBuffer, level: int, quality: float, embedding: FloatArray | None = ADA, id_: int = 1) -> None:
    """One step with one track on a grey background."""
    track = a_track(id_)
    album.update(Frame(np.full_like(ROOM, level), 0, 0), [track], {id_: a_sample(embedding, quality)})


# SnapshotBuffer


def test_best_crop_is_kept() -> None:
    album = SnapshotBuffer(ON, SAME_FACE_SQ)
    for level, quality in ((10, 0.2), (200, 0.9), (50, 0.5)):
        look(album, level, quality)
    look(album, 90, 1.0, embedding=None)  # a rejected sample
    assert grey(album.pop(a_decision(ADA))) == 200


def test_crop_is_a_copy_of_the_lent_frame() -> None:
    album = SnapshotBuffer(ON, SAME_FACE_SQ)
    frame = np.full_like(ROOM, 77)
    album.update(Frame(frame, 0, 0), [a_track()], {1: a_sample(ADA, 0.5)})
    frame[:] = 0
    assert grey(album.pop(a_decision(ADA))) == 77


def test_switched_track_never_shows_the_first_visitor() -> None:
    """The new visitor replaces the crop immediately; before that there is no crop instead of a wrong one."""
    album = SnapshotBuffer(ON, SAME_FACE_SQ)
    look(album, 200, 0.9, ADA)
    assert album.pop(a_decision(BOB)) is None
    look(album, 60, 0.1, BOB)
    assert grey(album.pop(a_decision(BOB))) == 60
    assert album.pop(a_decision(ADA)) is None


def test_only_configured_kinds_have_a_picture() -> None:
    album = SnapshotBuffer(ON, SAME_FACE_SQ)
    look(album, 200, 0.9)
    assert album.pop(a_decision(ADA, AccessOutcome.DENIED)) is None
    assert album.pop(a_decision(ADA, AccessOutcome.DOOR_OPEN)) is None
    assert album.pop(a_decision(ADA)) is not None


def test_crop_is_dropped_with_its_track() -> None:
    album = SnapshotBuffer(ON, SAME_FACE_SQ)
    look(album, 200, 0.9, id_=1)
    look(album, 100, 0.9, id_=2)
    assert album.pop(a_decision(ADA, id_=1)) is None
    album.clear()
    assert album.pop(a_decision(ADA, id_=2)) is None


@given(
    st.floats(0, 639), st.floats(0, 479), st.floats(1, 900), st.floats(1, 900), st.floats(0, 2), st.integers(64, 1024)
)
def test_crop_is_within_the_frame_and_the_limit(
    x: float, y: float, width: float, height: float, margin: float, max_px: int
) -> None:
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    cut = crop(ROOM, box, margin, max_px)
    assert min(cut.shape[:2]) >= 1
    assert max(cut.shape[:2]) < 4 * max_px
    assert max(downscale(cut, max_px).shape[:2]) <= max_px
    assert cut.base is None


def test_crop_holds_the_face_and_its_margin() -> None:
    assert crop(ROOM, FACE, 0.5, 1024).shape == (161, 161, 3)
    assert downscale(crop(ROOM, FACE, 0.5, 80), 80).shape == (80, 80, 3)
    assert crop(ROOM, Box(-40, -40, 40, 40), 0.0, 1024).shape == (41, 41, 3)


# Publishing


def a_snapshot(seq: int, expires_ns: int = 100) -> Snapshot:
    return Snapshot(f"id-{seq}", seq, JPEG, expires_ns)


# A complete door


@contextmanager
def listening(mqtt: MqttConfig) -> Iterator[tuple[list[Message], list[tuple[str, bytes]]]]:
    """Messages, and pictures with the id of their event; a picture counts only after its event."""
    received: list[Message] = []
    pictures: list[tuple[str, bytes]] = []

    def take(_door: Topics, event_id: str, jpeg: bytes) -> None:
        assert event_id in {event.id for event in records(received, Event)}
        pictures.append((event_id, jpeg))

    with Subscriber(mqtt, on_snapshot=take) as subscriber:

        def hear() -> None:
            for message in subscriber.messages():
                received.append(message)

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield received, pictures
        finally:
            subscriber.stop()
            thread.join()


@pytest.fixture(scope="session")
def strangers_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the bundled clip with an unknown visitor, at triple speed."""
    return fast_clip(tmp_path_factory.mktemp("clip") / "stranger.avi", 68, 45)


def test_snapshot_follows_its_event_and_is_nowhere_else(
    broker: AnyBroker, tmp_path: Path, strangers_clip: Path, vision: VisionStages
) -> None:
    """The picture shows one face; neither the broker nor the disk of the door has a copy."""
    state = tmp_path / "state"
    with listening(config_for(broker)) as (received, pictures):
        Daemon(door_config(state, strangers_clip, config_for(broker), snapshots=ON)).run(threading.Event())
        wait_until(lambda: bool(pictures), "a picture")
    (event,) = [event for event in records(received, Event) if event.kind is EventKind.UNKNOWN]
    ((event_id, jpeg),) = pictures
    assert event_id == event.id
    assert jpeg.startswith(JPEG)
    pixels = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    (face,) = vision.detector.detect(Frame(pixels, 0, 0))
    assert vision.reader.sample(Frame(pixels, 0, 0), face).embedding is not None
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if JPEG in path.read_bytes() or jpeg[100:200] in path.read_bytes()]
    with listening(config_for(broker)) as (_, later):
        pass
    assert later == []


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_broker_keeps_no_snapshot(tmp_path: Path, protocol: str) -> None:
    """The broker keeps the event for the session, but not the picture."""
    pictures: list[str] = []
    with Mosquitto(tmp_path) as broker, FleetPublisher(config_for(broker), site="test") as fleet:
        mqtt = config_for(broker, protocol=protocol)
        missed, received = (an_event("front", number, kind=EventKind.UNKNOWN) for number in (1, 2))

        def take(_door: Topics, event_id: str, _jpeg: bytes) -> None:
            pictures.append(event_id)
            if event_id == received.id:
                subscriber.stop()

        with Subscriber(mqtt, session="mine", on_snapshot=take):
            pass
        fleet.publish_face("front", missed, JPEG)
        with Subscriber(mqtt, session="mine", on_snapshot=take) as subscriber:
            fleet.publish_face("front", received, JPEG)
            events = [message.record for message in subscriber.messages(8.0)]
        assert missed in events
    assert pictures == [received.id]


def test_no_snapshot_by_default(broker: AnyBroker, tmp_path: Path, strangers_clip: Path) -> None:
    with listening(config_for(broker)) as (received, pictures):
        Daemon(door_config(tmp_path / "state", strangers_clip, config_for(broker))).run(threading.Event())
        wait_until(lambda: len(records(received, Event)) == 3, "started, unknown, stopped")
    assert pictures == []


def test_snapshot_is_dropped_without_a_broker(tmp_path: Path, strangers_clip: Path) -> None:
    mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}")
    Daemon(door_config(tmp_path, strangers_clip, mqtt, snapshots=ON)).run(threading.Event())
    assert [event.kind for event in stored_events(tmp_path)] == ["started", "unknown", "stopped"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and JPEG in path.read_bytes()]


@pytest.mark.parametrize(
    ("mqtt", "ok", "told"),
    [
        ('url = "mqtt://localhost:1"', True, "pictures of faces for unknown go to mqtt://localhost:1"),
        ('url = "mqtt://broker.local:1"\ninsecure = true', False, "pictures of faces unencrypted"),
    ],
)
def test_check_fails_on_unencrypted_snapshots(tmp_path: Path, mqtt: str, ok: bool, told: str) -> None:
    config = tmp_path / "door.toml"
    base = f'site = "s"\ndoor = "d"\nstate_folder = "{tmp_path}"\n[camera]\nsource = "{tmp_path}"\n[mqtt]\n{mqtt}\n'
    config.write_text(f'{base}[snapshots]\nkinds = ["unknown"]\n')
    (found,) = [finding for finding in check(config) if finding.what == "snapshots"]
    assert (found.state is State.OK) is ok
    assert told in found.detail
    config.write_text(base)
    assert not [finding for finding in check(config) if finding.what == "snapshots"]
