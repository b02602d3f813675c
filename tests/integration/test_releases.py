"""Releases at a whole door, with real models, clip and broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.daemon_runs import running
from support.mqtt_brokers import Mosquitto, needs_mosquitto, wait_until
from support.release_signer import ReleaseSigner, holds
from threshold_tools.release.publish import read_models
from threshold_tools.release.transport import publish

from edge.core.config import (
    CameraConfig,
    DoorConfig,
    MqttConfig,
    ReleaseConfig,
)
from edge.core.errors import GalleryError, ReleaseError
from edge.core.reasons import Reason
from edge.core.records import Person
from edge.demo.run_demo import CLIP, GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.config_checks import check_people
from edge.diagnostics.report import State
from edge.events.schema import Event, EventKind, ReleaseReport
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Message, Subscriber
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.replay.replay import replay
from edge.runtime.daemon import Daemon
from edge.runtime.release_manager import install_root
from edge.runtime.runtime_bundle import lax_thresholds, load_configured, load_release
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.vision.face_sampler import VisionStages
from edge.vision.manifest import default_folder

SITE = "home"


def quick() -> DoorConfig:
    config = DoorConfig(site=SITE, door="front")
    return msgspec.structs.replace(config, recognition=msgspec.structs.replace(config.recognition, sample_every_s=0.0))


@contextmanager
def hearing(mqtt: MqttConfig) -> Iterator[list[Message]]:
    received: list[Message] = []
    with Subscriber(mqtt, Topics("+", "+"), [Channel.EVENTS, Channel.RELEASE]) as subscriber:
        thread = threading.Thread(target=lambda: received.extend(subscriber.messages()))
        thread.start()
        try:
            yield received
        finally:
            subscriber.stop()
            thread.join()


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[MqttConfig]:
    with Mosquitto(tmp_path) as broker:
        yield MqttConfig(url=broker.url)


def door(tmp_path: Path, mqtt: MqttConfig, source: str = "mqtt") -> DoorConfig:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return msgspec.structs.replace(
        quick(),
        state_folder=str(state),
        gallery=str(state / "gallery.safetensors"),
        camera=CameraConfig(source=str(CLIP)),
        mqtt=mqtt,
        release=ReleaseConfig(source=source),
    )


def reports(received: list[Message]) -> list[ReleaseReport]:
    return [message.record for message in received if isinstance(message.record, ReleaseReport)]


def kinds(received: list[Message]) -> list[EventKind]:
    return [message.record.kind for message in received if isinstance(message.record, Event)]


def demo_gallery_without_anybody(tmp_path: Path, embedder: str) -> bytes:
    path = tmp_path / "nobody.safetensors"
    save_gallery(path, [], np.zeros((0, 192), np.float32), np.zeros(0, np.float32), embedder)
    return path.read_bytes()


@needs_mosquitto
def test_a_running_door_takes_a_release_and_a_removal(tmp_path: Path, mqtt: MqttConfig, vision: VisionStages) -> None:
    """The door has no people, gets one, and loses that person; no frame is dropped and each step is reported once."""
    embedder = vision.reader.embedder.sha256
    config = door(tmp_path, mqtt)
    desk = ReleaseSigner(tmp_path / "desk")
    root = tmp_path / "root.json"
    root.write_bytes(desk.root)
    install_root(config, root)
    person = load_gallery(GALLERY, embedder).centroids[0].tobytes()

    def push(gallery: bytes, people: int) -> None:
        desk.release_files({GALLERY_FILE: gallery}, people, now=datetime.now(UTC), embedder=embedder)
        publish(mqtt, SITE, desk.repository().files(), [])

    with hearing(mqtt) as received, running(Daemon(config)) as daemon:
        wait_until(lambda: daemon.frames > 2, "frames")
        wait_until(lambda: len(reports(received)) == 1, "the first report")
        push(GALLERY.read_bytes(), 1)
        wait_until(lambda: reports(received)[-1].release == 1, "release 1")
        wait_until(lambda: EventKind.DOOR_OPEN in kinds(received), "the door opens", 15)
        assert holds(tmp_path / "state", person)
        push(demo_gallery_without_anybody(tmp_path, embedder), 0)
        wait_until(lambda: reports(received)[-1].release == 2, "release 2")
        assert not holds(tmp_path / "state", person)
    assert [kind for kind in kinds(received) if kind.startswith("release")] == ["release-applied"] * 2
    last = reports(received)[-1]
    assert (last.ok, last.people, last.applied_at is not None) == (True, 0, True)
    assert reports(received)[0].reason is Reason.NO_RELEASE


@needs_mosquitto
def test_a_release_with_models_runs_on_its_own_models(tmp_path: Path, mqtt: MqttConfig, vision: VisionStages) -> None:
    embedder = vision.reader.embedder.sha256
    desk = ReleaseSigner(tmp_path / "desk")
    stick = desk.folder
    config = door(tmp_path, mqtt, source=str(stick))
    root = tmp_path / "root.json"
    root.write_bytes(desk.root)
    install_root(config, root)
    files = {GALLERY_FILE: GALLERY.read_bytes(), **read_models(default_folder())}
    desk.release_files(files, 1, now=datetime.now(UTC), embedder=embedder)
    with hearing(mqtt) as received:
        with running(Daemon(config)):
            wait_until(lambda: bool(reports(received)) and reports(received)[-1].release == 1, "release 1", 15)
        with running(Daemon(config)) as daemon:
            assert daemon.bundle.own_models
            wait_until(lambda: daemon.frames > 2, "frames")
    assert EventKind.RELEASE_REFUSED not in kinds(received)


def gallery_of_length(path: Path, embedder: str, length: int) -> Path:
    """Return a gallery of the right embedder whose vectors have another length."""
    people = [Person(f"p{row}", f"Person {row}") for row in range(3)]
    save_gallery(path, people, np.eye(3, length, dtype=np.float32), np.full(3, 1.0, np.float32), embedder)
    return path


@pytest.mark.parametrize("length", [128, 191, 193, 512])
def test_door_with_gallery_of_another_vector_length(tmp_path: Path, vision: VisionStages, length: int) -> None:
    """The daemon's start, a release, a replay and `edge check` reject it in one line, before the first face."""
    embedder = vision.reader.embedder
    path = gallery_of_length(tmp_path / GALLERY_FILE, embedder.sha256, length)
    config = msgspec.structs.replace(quick(), gallery=str(path))
    told = f"{path}: vectors of {length} numbers, the embedder has {embedder.dimension}; make it again"
    with pytest.raises(GalleryError, match=told):
        Daemon(config)
    with pytest.raises(GalleryError, match=told):
        load_release(config, tmp_path, vision)
    with pytest.raises(GalleryError, match=told):
        next(replay(config, CLIP, path))
    (finding,) = check_people(config, vision)
    assert (finding.state, finding.detail.partition(";")[0]) == (State.FAIL, told.partition(";")[0])


def test_gallery_thresholds_that_let_strangers_pass(
    tmp_path: Path, vision: VisionStages, caplog: pytest.LogCaptureFixture
) -> None:
    """`edge check` and the door's log warn of them, also in a release; calibrated thresholds cause no warning."""
    embedder = vision.reader.embedder
    enrolled = load_gallery(GALLERY, embedder.sha256)
    path = tmp_path / GALLERY_FILE
    save_gallery(path, enrolled.people, enrolled.centroids, np.full(1, 1.3, np.float32), embedder.sha256)
    config = msgspec.structs.replace(quick(), gallery=str(path))
    told = "1 of 1 people have a threshold above 1.29: more than 1 in 100 strangers is accepted as each of them"
    (finding,) = check_people(config, vision)
    assert (finding.state, finding.detail) == (State.WARN, f"{path}: {told}")
    load_configured(config)
    load_release(config, tmp_path, vision)
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {told}"] * 2
    assert lax_thresholds(enrolled, embedder) == ""


@needs_mosquitto
def test_release_of_another_vector_length(tmp_path: Path, mqtt: MqttConfig, vision: VisionStages) -> None:
    """The door rejects it in one line, continues, and accepts the next release."""
    embedder = vision.reader.embedder.sha256
    desk = ReleaseSigner(tmp_path / "desk")
    config = msgspec.structs.replace(
        door(tmp_path, mqtt), release=ReleaseConfig(source=str(desk.folder), check_every_s=0.1)
    )
    root = tmp_path / "root.json"
    root.write_bytes(desk.root)
    install_root(config, root)
    wrong = gallery_of_length(tmp_path / "wrong", embedder, 128).read_bytes()
    with hearing(mqtt) as received, running(Daemon(config)):
        desk.release_files({GALLERY_FILE: wrong}, 3, now=datetime.now(UTC), embedder=embedder)
        wait_until(lambda: bool(reports(received)) and "release 1" in (reports(received)[-1].detail or ""), "refused")
        assert "vectors of 128 numbers, the embedder has 192" in (reports(received)[-1].detail or "")
        desk.release_files({GALLERY_FILE: GALLERY.read_bytes()}, 1, now=datetime.now(UTC), embedder=embedder)
        wait_until(lambda: reports(received)[-1].release == 2, "release 2")
    assert kinds(received).count(EventKind.RELEASE_REFUSED) == 1


def test_a_door_without_a_trusted_root_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"no trusted root .*edge release trust-root ROOT.json"):
        Daemon(door(tmp_path, MqttConfig(url="mqtt://127.0.0.1:1")))


def test_check_shows_the_release(tmp_path: Path, vision: VisionStages) -> None:
    """`edge check` reports a missing root, a missing release, and then the number of the release."""
    state = tmp_path / "state"
    state.mkdir()
    toml = tmp_path / "door.toml"
    toml.write_text(
        f'site = "home"\ndoor = "front"\nstate_folder = "{state}"\n[camera]\nsource = "{CLIP}"\n'
        '[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[release]\n'
    )

    def shown() -> tuple[bool, str]:
        (finding,) = [finding for finding in check(toml) if finding.what == "release"]
        return finding.state is State.OK, finding.detail

    assert shown()[0] is False
    assert "no trusted root" in shown()[1]
    desk = ReleaseSigner(tmp_path / "desk")
    (tmp_path / "root.json").write_bytes(desk.root)
    config = msgspec.structs.replace(quick(), state_folder=str(state), release=ReleaseConfig())
    install_root(config, tmp_path / "root.json")
    assert "no release has arrived yet" in shown()[1]
