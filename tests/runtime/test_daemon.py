"""A complete door in one process, with a clip as camera and a real broker, also when a component fails."""

from __future__ import annotations

import gc
import inspect
import logging
import random
import socket
import threading
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.daemon_runs import door_config, fast_clip, listening, records, running, stored_events, visitor_frames
from support.fake_camera import Webcam, jpeg
from support.mqtt_brokers import (
    AnyBroker,
    Mosquitto,
    config_for,
    free_port,
    needs_mosquitto,
    wait_until,
)

from edge.core.config import (
    AccessConfig,
    HomeAssistantConfig,
    LivenessConfig,
    MqttConfig,
    SnapshotsConfig,
)
from edge.core.errors import CameraError, GalleryError, OutboxError
from edge.demo.run_demo import CLIP
from edge.events.homeassistant import make_discovery_message
from edge.events.schema import Event, Health, OpenCommand, PresenceReport, Status
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import connect
from edge.mqtt.subscriber import Subscriber
from edge.runtime.daemon import Daemon
from edge.runtime.snapshots import SnapshotBuffer
from edge.vision.camera_file import VideoFileCamera


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 1.5 s of the bundled clip in which the enrolled person approaches, at triple speed."""
    return fast_clip(tmp_path_factory.mktemp("clip") / "short.avi", 15, 30)


def test_visitor_opens_the_door_once(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    mqtt = msgspec.structs.replace(
        config_for(broker), health_every_s=0.2, open_max_age_s=60.0
    )  # also on a busy machine
    with listening(config_for(broker)) as received:
        Daemon(door_config(tmp_path / "state", short_clip, mqtt)).run(threading.Event())
        wait_until(lambda: len(records(received, Status)) == 2, "online and offline")
    events = records(received, Event)
    assert [event.kind for event in events] == ["started", "door-open", "stopped"]
    assert [event.seq - events[0].seq for event in events] == [0, 1, 2]
    (opening,) = records(received, OpenCommand)
    assert (opening.id, opening.seq, opening.person) == (events[1].id, events[1].seq, events[1].person)
    lasts = datetime.fromisoformat(opening.expires_at) - datetime.fromisoformat(opening.at)
    assert lasts == timedelta(seconds=mqtt.open_max_age_s)
    assert [(status.status, status.reason) for status in records(received, Status)] == [
        ("online", "connected"),
        ("offline", "stopped"),
    ]
    reports = records(received, Health)
    assert {"motion", "detect", "landmarks", "align", "quality", "embed"} == {
        name for each in reports for name in each.stages
    }
    health = reports[-1]
    assert health.camera == "working"
    assert health.frames > 0
    assert health.gallery == events[1].gallery
    assert [message.channel for message in received if message.retained] == []


def test_presence_is_published_without_identity(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    """It changes to somebody, and back when the source has ended; the discovery message is retained."""
    config = door_config(tmp_path / "state", short_clip, config_for(broker), home_assistant=HomeAssistantConfig())
    made = make_discovery_message(config)
    assert made
    with listening(config_for(broker)) as received:
        Daemon(config).run(threading.Event())
        wait_until(lambda: len(records(received, Status)) == 2, "online and offline")
    told = [report.somebody for report in records(received, PresenceReport)]
    assert not told[0]
    assert told[-2:] == [True, False]
    home, _ = connect(config_for(broker), client_id="home-assistant", max_packet_bytes=64 * 1024)
    home.subscribe([made.topic], qos=1)
    home.poll(1.0)
    assert made.payload in [message.payload for message in home.take_messages()]
    home.close()


def test_denied_person_is_named_and_nothing_opens(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    config = door_config(tmp_path / "state", short_clip, config_for(broker), access=AccessConfig(allow=()))
    with listening(config_for(broker)) as received:
        Daemon(config).run(threading.Event())
        wait_until(lambda: len(records(received, Event)) == 3, "three events")
    denied = records(received, Event)[1]
    assert denied.person is not None
    assert (denied.kind, denied.person.id, denied.rule) == ("denied", "barack-obama", "not-in-allow")
    assert records(received, OpenCommand) == []


@needs_mosquitto
def test_opening_without_a_lock_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody subscribes to `open`: there is an event, a warning and a problem."""
    stop = threading.Event()
    with (
        Mosquitto(tmp_path) as broker,
        Subscriber(config_for(broker), channels=[Channel.HEALTH]) as ear,
    ):
        mqtt = config_for(broker, health_every_s=0.1, open_max_age_s=60.0)
        running = threading.Thread(target=Daemon(door_config(tmp_path / "state", CLIP, mqtt)).run, args=(stop,))
        running.start()
        try:
            problems = (
                problem
                for message in ear.messages(20.0)
                if isinstance(message.record, Health)
                for problem in message.record.problems
            )
            assert any("reached no lock" in problem for problem in problems)
        finally:
            stop.set()
            running.join()
    unheard = [event for event in stored_events(tmp_path / "state") if event.kind == "open-unheard"]
    assert unheard
    warnings = [record for record in caplog.records if "open-unheard" in record.getMessage()]
    assert [record.levelname for record in warnings] == ["WARNING"] * len(unheard)


def test_events_are_queued_without_a_broker(tmp_path: Path, short_clip: Path) -> None:
    """The door does not open, this is recorded, and all events are stored for the broker."""
    mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}")
    Daemon(door_config(tmp_path, short_clip, mqtt)).run(threading.Event())
    assert sorted(event.kind for event in stored_events(tmp_path)) == [
        "door-open",
        "open-expired",
        "started",
        "stopped",
    ]


def test_queued_events_are_delivered_by_the_next_run(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    state = tmp_path / "state"
    Daemon(door_config(state, short_clip, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"))).run(threading.Event())
    with listening(config_for(broker)) as received:
        Daemon(door_config(state, short_clip, config_for(broker))).run(threading.Event())
        wait_until(lambda: len(records(received, Event)) == 7, "seven events")
    events = records(received, Event)
    assert [event.seq - events[0].seq for event in events] == list(range(7))
    assert [opening.seq for opening in records(received, OpenCommand)] == [events[5].seq]  # never the old one


def test_watchdog_is_fed_by_processed_frames(tmp_path: Path, short_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        Daemon(door_config(tmp_path, short_clip, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"))).run(
            threading.Event()
        )
        told = []
        while True:
            try:
                told.append(manager.recv(1000).decode())
            except BlockingIOError:
                break
    assert told[0] == "READY=1"
    assert told[1] == "WATCHDOG=1"
    assert told[-1] == "STOPPING=1"


def test_challenge_movements_drawn_from_random_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By default the operating system draws them, so that they are not predictable."""
    caplog.set_level(logging.INFO)
    default = inspect.signature(Daemon).parameters["random_number"].default
    assert isinstance(default.__self__, random.SystemRandom)
    liveness = LivenessConfig(mode="challenge", challenge_movements=("look-up",) * 99 + ("turn-left",))
    config = door_config(tmp_path, CLIP, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"), liveness=liveness)
    with running(Daemon(config, random_number=lambda: 0.999)):
        wait_until(lambda: "challenge 1: asked" in caplog.text, "a movement is asked", 20)
    assert "challenge 1: asked turn-left" in caplog.text


def test_faces_forgotten_with_the_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No picture of a visitor is kept in memory while the camera is lost."""
    caplog.set_level(logging.INFO)

    def crops() -> int:
        kept = [each for each in gc.get_objects() if type(each).__module__ == SnapshotBuffer.__module__]
        return sum(not isinstance(each, SnapshotBuffer) for each in kept)

    gc.collect()
    before, stream = crops(), Webcam(visitor_frames(30, 45))
    stream.plug()
    snapshots = SnapshotsConfig(kinds=("unknown",))
    config = door_config(tmp_path, stream.url, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"), snapshots=snapshots)
    daemon = Daemon(config)
    with running(daemon):
        wait_until(lambda: "door-open" in caplog.text, "a visitor is seen, and a picture kept", 20)
        stream.unplug()
        wait_until(lambda: daemon.camera_state == "lost", "the loss is noticed")
        # Not earlier: a running model must not be referenced elsewhere.
        wait_until(lambda: crops() <= before, "it is forgotten")


def test_watchdog_while_the_camera_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reset until the first frame, but not while a camera that worked is lost: a hanging driver leads to a restart."""
    caplog.set_level(logging.DEBUG, "edge.runtime.camera_supervisor")
    stream = Webcam(visitor_frames(30, 45))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def received() -> list[str]:
            return list(iter(lambda: _received(manager), ""))

        daemon = Daemon(door_config(tmp_path, stream.url, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}")))
        with running(daemon):
            wait_until(lambda: "WATCHDOG=1" in received(), "waiting for a camera feeds it")
            stream.plug()
            wait_until(lambda: daemon.frames > 2, "frames", 20)
            stream.unplug()
            wait_until(lambda: daemon.camera_state == "lost", "the loss is noticed")
            received()
            caplog.clear()
            wait_until(lambda: len(caplog.records) >= 2, "the camera is tried twice, half a second and a second later")
            assert "WATCHDOG=1" not in received()
            stream.plug()
            wait_until(lambda: "WATCHDOG=1" in received(), "frames feed it again", 20)
        stream.unplug()


def _received(manager: socket.socket) -> str:
    try:
        return manager.recv(1000).decode()
    except BlockingIOError:
        return ""


def test_unplugged_camera_is_reported_and_comes_back(tmp_path: Path) -> None:
    with VideoFileCamera(CLIP) as clip:
        stream = Webcam([jpeg(next(iter(clip)).pixels)])
    stream.plug()
    config = door_config(tmp_path, stream.url, MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"))
    with running(Daemon(config)) as daemon:
        wait_until(lambda: daemon.frames > 5, "frames of the first camera")
        stream.unplug()
        seen = daemon.frames
        wait_until(lambda: daemon.camera_state == "lost", "the loss is noticed")
        stream.plug()
        wait_until(lambda: daemon.frames > seen + 5, "frames of the camera that is back", deadline_s=20)
    stream.unplug()
    assert [event.kind for event in stored_events(tmp_path)] == ["started", "camera-lost", "camera-back", "stopped"]


def test_door_with_a_missing_part_does_not_start(tmp_path: Path, short_clip: Path) -> None:
    mqtt = MqttConfig(url="mqtt://127.0.0.1:1")
    with pytest.raises(GalleryError):
        Daemon(door_config(tmp_path, short_clip, mqtt, gallery=str(tmp_path / "absent")))
    with pytest.raises(CameraError):
        Daemon(door_config(tmp_path / "a", tmp_path / "absent.mp4", mqtt)).run(threading.Event())
    (tmp_path / "outbox.sqlite").mkdir()
    with pytest.raises(OutboxError, match="a folder or device"):
        Daemon(door_config(tmp_path, short_clip, mqtt))


def test_damaged_event_store_is_replaced_and_reported(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    """The damaged store is kept under another name, and the door opens as usual."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "outbox.sqlite").write_bytes(b"this is no database" * 1000)
    with listening(config_for(broker)) as received:
        Daemon(door_config(state, short_clip, config_for(broker))).run(threading.Event())
        wait_until(lambda: "stopped" in [event.kind for event in records(received, Event)], "the last event")
    events = records(received, Event)
    assert [event.kind for event in events] == ["started", "store-replaced", "door-open", "stopped"]
    assert "outbox.sqlite.damaged" in (events[1].detail or "")
    assert len(records(received, OpenCommand)) == 1
    assert (state / "outbox.sqlite.damaged").read_bytes() == b"this is no database" * 1000


def test_only_retained_topics_are_remembered(broker: AnyBroker, tmp_path: Path, short_clip: Path) -> None:
    """Later subscribers receive status, health and presence, but no event and no open command."""
    mqtt = msgspec.structs.replace(config_for(broker), health_every_s=0.1)
    Daemon(door_config(tmp_path / "state", short_clip, mqtt)).run(threading.Event())
    with Subscriber(config_for(broker), Topics("+", "+")) as late:
        found = {message.channel for message in late.messages(timeout_s=1.0)}
    assert found == {Channel.STATUS, Channel.HEALTH, Channel.PRESENCE}
