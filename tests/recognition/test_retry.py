"""Failed openings: a person who is still present is judged again, at a bounded rate."""

from __future__ import annotations

import random
import resource
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import cv2
import msgspec
import numpy as np
import pytest
from support.face_images import track
from support.mqtt_brokers import free_port

from edge.core.config import CameraConfig, DoorConfig, LivenessConfig, MqttConfig, OutboxConfig, RecognitionConfig
from edge.core.reasons import Reason
from edge.core.records import BgrImage, Frame, Identification, Match, Person, Verdict
from edge.demo.run_demo import GALLERY
from edge.events.schema import Event, EventKind
from edge.outbox.outbox import Outbox
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.recognition.retry import Retries
from edge.runtime.daemon import Daemon
from edge.vision.face_sampler import VisionStages

S = 1_000_000_000
FPS = 10
PERSON = "barack-obama"
EMPTY = np.full((480, 640, 3), 110, np.uint8)


@pytest.fixture
def standing(photo: Callable[[str], BgrImage]) -> Callable[[float], BgrImage]:
    """The camera picture, at this second, of an enrolled person who is present and sways a little."""
    portrait = photo("obama2")
    scale = 400 / portrait.shape[0]
    portrait = np.asarray(cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)

    def frame(t_s: float) -> BgrImage:
        left, top = 150 + round(8 * np.sin(3 * t_s)), 40 + round(5 * np.cos(2 * t_s))
        seen = EMPTY.copy()
        seen[top : top + portrait.shape[0], left : left + portrait.shape[1]] = portrait
        return seen

    return frame


def a_door(vision: VisionStages, **tables: object) -> Pipeline:
    config = msgspec.structs.replace(DoorConfig(site="test", door="front"), **tables)
    gallery = load_gallery(GALLERY, vision.reader.embedder.sha256)
    return Pipeline(config, vision, gallery, random_number=random.Random(1).random)


def answers(
    pipeline: Pipeline, frame: Callable[[float], BgrImage], begin_s: float, end_s: float
) -> Iterable[tuple[float, str]]:
    """Kinds and times of the decisions between two seconds."""
    for number in range(round(begin_s * FPS), round(end_s * FPS)):
        t_s = number / FPS
        for decision in pipeline.step(Frame(frame(t_s), number, round(t_s * S))):
            yield t_s, str(decision.kind)


def empty(t_s: float) -> BgrImage:
    return EMPTY


def test_a_person_who_stays_after_a_failed_opening(vision: VisionStages, standing: Callable[[float], BgrImage]) -> None:
    """The door opens again, only once, and not before the first opening would have expired (3 s)."""
    pipeline = a_door(vision)
    ((first_s, kind),) = answers(pipeline, standing, 0, 2)
    assert kind == "door-open"
    pipeline.open_failed(PERSON)
    ((second_s, kind),) = answers(pipeline, standing, 2, 9)
    assert kind == "door-open"
    assert 3.0 <= second_s - first_s < 4.0


def test_a_person_who_stays_after_an_opening(vision: VisionStages, standing: Callable[[float], BgrImage]) -> None:
    """An opening without reported failure is not repeated."""
    assert len(list(answers(a_door(vision), standing, 0, 6))) == 1


def test_a_person_who_returns_after_a_failed_opening(
    vision: VisionStages, standing: Callable[[float], BgrImage]
) -> None:
    """A visit in which the door stayed closed starts no cooldown (10 s)."""
    pipeline = a_door(vision)
    assert len(list(answers(pipeline, standing, 0, 1.5))) == 1
    pipeline.open_failed(PERSON)
    assert list(answers(pipeline, empty, 1.5, 4)) == []
    assert [kind for _, kind in answers(pipeline, standing, 4, 6)] == ["door-open"]


def test_other_track_after_a_failed_opening(vision: VisionStages, standing: Callable[[float], BgrImage]) -> None:
    """The person left and returned before the failure was reported, and is present without a report."""
    pipeline = a_door(vision)
    assert len(list(answers(pipeline, standing, 0, 1))) == 1
    assert list(answers(pipeline, empty, 1, 2.2)) == []
    assert list(answers(pipeline, standing, 2.2, 3)) == []
    pipeline.open_failed(PERSON)
    assert [kind for _, kind in answers(pipeline, standing, 3, 5)] == ["door-open"]


def test_liveness_before_a_second_opening(vision: VisionStages, standing: Callable[[float], BgrImage]) -> None:
    """A photo that was accepted once by chance has no advantage: the earlier evidence does not count."""
    pipeline = a_door(vision, liveness=LivenessConfig(mode="passive", attack_score=1.0, attack_after_s=1.0))
    ((first_s, kind),) = answers(pipeline, standing, 0, 3)
    assert kind == "door-open"
    pipeline.open_failed(PERSON)
    ((second_s, kind),) = answers(pipeline, standing, 3, 8)
    assert kind == "door-open"
    assert second_s - first_s >= 4.0  # 3 s, and another second of watching


def verdict_of(person_id: str, t_s: float) -> Verdict:
    t_ns = round(t_s * S)
    match = Match(Person(person_id, ""), 0.5, 1.0, 4.0)
    return Verdict(
        Identification.RECOGNISED,
        track(t_ns=t_ns),
        match,
        np.ones(4, np.float32),
        3,
        1.0,
        Reason.WITHIN_THRESHOLD,
        t_ns,
    )


def test_retries_by_person_and_time() -> None:
    """The last opening of each person counts once; after some time it is forgotten."""
    retries = Retries(3.0)
    for person_id, t_s in (("anna", 0), ("bert", 1), ("anna", 2), ("carl", 2)):
        retries.record_open(verdict_of(person_id, t_s))
    for person_id in ("anna", "bert", "nobody"):
        retries.record_failure(person_id)
    due = [
        [one.match.person.id for one in retries.take_due(round(t_s * S)) if one.match.person]
        for t_s in (3.9, 4.0, 4.9, 5.0, 6.0)
    ]
    assert due == [[], ["bert"], [], ["anna"], []]
    assert retries.take_due(66 * S) == []
    retries.record_failure("carl")
    assert retries.take_due(70 * S) == []


def test_retries_keep_no_template() -> None:
    """Only the name is kept; embeddings are deleted with their track."""
    retries = Retries(3.0)
    retries.record_open(verdict_of("anna", 0))
    retries.record_failure("anna")
    assert [verdict.embedding.size for verdict in retries.take_due(3 * S)] == [0]


# With the daemon, which knows the result of an opening.


@pytest.fixture
def clip(tmp_path: Path, standing: Callable[[float], BgrImage]) -> Path:
    """Two seconds of an enrolled person who is present."""
    path = tmp_path / "standing.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 480))
    for number in range(30):
        writer.write(standing(number / 15))
    writer.release()
    return path


def a_daemon(folder: Path, clip: Path) -> Daemon:
    """A door without a broker, whose openings expire after half a second."""
    return Daemon(
        DoorConfig(
            site="test",
            door="front",
            state_folder=str(folder / "state"),
            gallery=str(GALLERY),
            camera=CameraConfig(source=str(clip)),
            recognition=RecognitionConfig(sample_every_s=0.0),
            mqtt=MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}", open_max_age_s=0.5),
        )
    )


def stored(folder: Path) -> list[Event]:
    def never(count: int) -> Event:
        raise AssertionError(count)

    with Outbox(folder / "state" / "outbox.sqlite", OutboxConfig(), announce=never) as outbox:
        return outbox.recent(100)[::-1]


def test_person_who_stays_without_a_broker(tmp_path: Path, clip: Path) -> None:
    """Every opening expires and is followed by the next one, at most two per second here."""
    a_daemon(tmp_path, clip).run(threading.Event())
    kinds = [event.kind for event in stored(tmp_path) if event.kind in (EventKind.DOOR_OPEN, EventKind.OPEN_EXPIRED)]
    assert 2 <= kinds.count(EventKind.DOOR_OPEN) <= 4
    assert kinds.count(EventKind.OPEN_EXPIRED) == kinds.count(EventKind.DOOR_OPEN)


def test_a_person_who_stays_while_the_store_fails(tmp_path: Path, clip: Path) -> None:
    """The door does not open while events cannot be stored, and opens when the disk works again."""
    with _DiskFails(until_frame=12) as disk:
        a_daemon(tmp_path, clip).run(disk)
    reasons = [event.reason for event in stored(tmp_path) if event.kind is EventKind.OPEN_EXPIRED]
    assert reasons[0] is Reason.EVENT_NOT_STORED
    assert reasons[-1] is not Reason.EVENT_NOT_STORED  # stored, and expired without a broker


class _DiskFails(threading.Event):
    """A stop event that is never set; the daemon checks it with every frame. It limits the file size before."""

    def __init__(self, until_frame: int) -> None:
        super().__init__()
        self._until = until_frame
        self._asked = 0
        self._bounds = resource.getrlimit(resource.RLIMIT_FSIZE)

    def is_set(self) -> bool:
        self._asked += 1
        limit = 1 if self._asked < self._until else self._bounds[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self._bounds[1]))
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._bounds)
