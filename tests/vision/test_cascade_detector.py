"""Searches of the whole picture, close-ups of tracked faces, and few detector runs without motion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from support.face_images import face as made_up

from edge.core.config import DetectorConfig, DoorConfig, ModelsConfig, MotionConfig, RecognitionConfig
from edge.core.records import BgrImage, Face, FloatArray, Frame
from edge.demo.run_demo import GALLERY
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.vision.cascade_detector import CascadeDetector
from edge.vision.detector import Detector
from edge.vision.face_sampler import VisionStages
from edge.vision.stage_timing import P, R
from edge.vision.tflite import TfliteModel

Photo = Callable[[str], BgrImage]
CONFIG = DetectorConfig()
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def far() -> Detector:
    return Detector(TfliteModel("detector-far", ModelsConfig()), CONFIG)


@pytest.fixture(scope="module")
def near() -> Detector:
    return Detector(TfliteModel("detector-near", ModelsConfig()), CONFIG)


@pytest.fixture
def lookout(far: Detector, near: Detector) -> CascadeDetector:
    return CascadeDetector(far, near, CONFIG)


def scene(portrait: BgrImage, *lefts: int, width: int = 200, top: int = 120) -> BgrImage:
    """A grey 640x480 room with a portrait, `width` px wide, at each of the positions."""
    small = cv2.resize(portrait, (width, width * portrait.shape[0] // portrait.shape[1]), interpolation=cv2.INTER_AREA)
    room = np.full((480, 640, 3), 128, np.uint8)
    for left in lefts:
        room[top : top + small.shape[0], left : left + width] = small[: 480 - top]
    return room


def at(pixels: BgrImage, seconds: float) -> Frame:
    return Frame(pixels, 0, round(seconds * SECOND))


def searched(lookout: CascadeDetector, room: BgrImage) -> list[Face]:
    """The faces of a room, found by a search at 0 s."""
    seen = lookout.detect(at(room, -0.01))
    return lookout.detect(at(room, 0), [*seen, *seen, *seen])


def test_close_up_finds_the_face_of_a_search(photo: Photo, far: Detector, near: Detector) -> None:
    room = scene(photo("biden"), 220)
    (searched,) = far.detect(at(room, 0))
    (close,) = near.detect_around(at(room, 0), searched)
    assert close.box.iou(searched.box) > 0.6
    eyes = np.linalg.norm(searched.keypoints_px[1] - searched.keypoints_px[0])
    assert np.abs(close.keypoints_px[:2] - searched.keypoints_px[:2]).max() < 0.2 * eyes


@pytest.mark.parametrize(("left", "top"), [(0, 0), (440, 0), (0, 200), (440, 200)])
def test_close_ups_in_every_corner(photo: Photo, far: Detector, near: Detector, left: int, top: int) -> None:
    room = scene(photo("biden"), left, top=top)
    (searched,) = far.detect(at(room, 0))
    (close,) = near.detect_around(at(room, 0), searched)
    assert close.box.iou(searched.box) > 0.6


def test_close_up_of_a_very_large_face(near: Detector) -> None:
    near.detect_around(at(np.full((480, 640, 3), 128, np.uint8), 0), made_up(320, 240, side=2000))


def test_new_visitor_found_by_the_next_search(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 40))
    both = scene(photo("biden"), 40, 380)
    assert len(lookout.detect(at(both, 0.1), [known])) == 1
    assert len(lookout.detect(at(both, CONFIG.far_scan_every_s), [known])) == 2


def test_near_visitor_after_a_pause(photo: Photo, far: Detector, near: Detector, lookout: CascadeDetector) -> None:
    room = scene(photo("biden"), 150, width=300, top=20)
    assert lookout.detect(at(scene(photo("biden")), 0)) == []
    (close,) = lookout.detect(at(room, 60))
    assert close.box == near.detect(at(room, 60))[0].box
    (searched_for,) = lookout.detect(at(room, 60.1), [close])
    assert searched_for.box == far.detect(at(room, 60))[0].box


def test_far_visitor_after_a_pause(photo: Photo, lookout: CascadeDetector) -> None:
    assert lookout.detect(at(scene(photo("biden")), 0)) == []
    assert len(lookout.detect(at(scene(photo("biden"), 300, width=90), 60))) == 1


def test_near_and_far_visitor_between_searches(photo: Photo, lookout: CascadeDetector) -> None:
    """A portrait 90 px wide is too small for the near model."""
    empty, close, distant = (
        scene(photo("biden")),
        scene(photo("biden"), 150, width=300, top=20),
        scene(photo("biden"), 300, width=90),
    )
    assert lookout.detect(at(empty, 0)) == []
    assert len(lookout.detect(at(close, 0.1))) == 1
    assert lookout.detect(at(distant, 0.2)) == []
    assert len(lookout.detect(at(distant, CONFIG.far_scan_every_s))) == 1


def test_near_model_alone(photo: Photo, near: Detector) -> None:
    """A close-up between two searches would take as long as a search and miss small faces."""
    alone = CascadeDetector(near, near, CONFIG)
    room = scene(photo("biden"), 220, width=160)
    (searched,) = alone.detect(at(room, 0))
    assert max(searched.box.width, searched.box.height) < 0.15 * 640
    (again,) = alone.detect(at(room, 0.1))
    assert again.box == searched.box


def test_search_in_the_frame_that_loses_a_face(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 0))
    (found,) = lookout.detect(at(scene(photo("biden"), 420), 0.1), [known])
    assert found.box.left > 400


def test_search_after_two_faces_became_one(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 220))
    (found,) = lookout.detect(at(scene(photo("biden"), 220), 0.1), [known, known])
    assert found.box.iou(known.box) > 0.9


def test_search_after_a_close_up_with_one_model(photo: Photo, near: Detector) -> None:
    """A close-up fills the whole input; a search must restore the grey border."""
    room = scene(photo("biden"), 220)
    (before,) = near.detect(at(room, 0))
    near.detect_around(at(room, 0), before)
    (after,) = near.detect(at(room, 0))
    assert after.box == before.box


def pipeline(vision: VisionStages, config: DoorConfig, count: Counter[str]) -> Pipeline:
    """A door that counts how often each stage runs."""

    def counting(stage: str, verb: Callable[P, R]) -> Callable[P, R]:
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            count[stage] += 1
            return verb(*args, **kwargs)

        return counted

    return Pipeline(config, vision, load_gallery(GALLERY, vision.reader.embedder.sha256), counting)


def test_every_second_sample_mirrored(photo: Photo, vision: VisionStages) -> None:
    config = DoorConfig(
        site="s",
        door="d",
        motion=MotionConfig(enabled=False),
        recognition=RecognitionConfig(sample_every_s=0, min_samples=9),
    )
    door = pipeline(vision, config, Counter())
    room = scene(photo("biden"), 150, width=300, top=20)
    (face,) = vision.detector.detect(at(room, 0))

    def seen(number: int) -> FloatArray:
        door.step(at(room, number))
        (sample,) = door.samples.values()
        assert sample.embedding is not None
        return sample.embedding

    plain, mirrored, again, mirrored_again = (seen(number) for number in range(4))
    wanted = vision.reader.sample(at(room, 0), face, mirrored=True).embedding
    assert wanted is not None
    assert np.array_equal(plain, again)
    assert np.array_equal(mirrored, wanted)
    assert np.array_equal(mirrored_again, wanted)
    assert not np.array_equal(plain, mirrored)


def test_detector_runs_for_a_still_visitor(photo: Photo, watching: VisionStages) -> None:
    """In 10 s at 20 frames/s the detector runs only every `still_scan_every_s`, and the track continues."""
    config = DoorConfig(site="s", door="d", motion=MotionConfig(keep_awake_s=0.0))
    count: Counter[str] = Counter()
    door = pipeline(watching, config, count)
    room = scene(photo("obama2"), 150, width=300, top=20)
    decisions = [decision for n in range(40) for decision in door.step(at(room, n / 20))]
    assert [str(decision.kind) for decision in decisions] == ["door-open"]
    count.clear()
    for n in range(40, 240):
        assert door.step(at(room, n / 20)) == []
    assert {track.id for track in door.tracks} == {1}
    assert (
        0.9 * 10 / config.motion.still_scan_every_s
        <= count["detect"]
        <= 10 / config.motion.still_scan_every_s + 10 / config.recognition.recheck_every_s
    )


def test_detector_runs_in_an_empty_room(watching: VisionStages) -> None:
    count: Counter[str] = Counter()
    door = pipeline(watching, DoorConfig(site="s", door="d"), count)
    room = np.full((480, 640, 3), 128, np.uint8)
    for n in range(200):
        door.step(at(room, n / 20))
    assert not door.tracks
    assert 3 <= count["detect"] <= 2.0 * 20 + 6  # during `keep_awake_s` after the first frame; then every 2 s
