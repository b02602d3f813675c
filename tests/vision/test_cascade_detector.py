"""Where the door looks: everywhere now and then, closely at those it follows, and seldom where nothing stirs."""

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
    """A grey 640x480 room with a portrait, `width` px wide, at each of the places."""
    small = cv2.resize(portrait, (width, width * portrait.shape[0] // portrait.shape[1]), interpolation=cv2.INTER_AREA)
    room = np.full((480, 640, 3), 128, np.uint8)
    for left in lefts:
        room[top : top + small.shape[0], left : left + width] = small[: 480 - top]
    return room


def at(pixels: BgrImage, seconds: float) -> Frame:
    return Frame(pixels, 0, round(seconds * SECOND))


def searched(lookout: CascadeDetector, room: BgrImage) -> list[Face]:
    """The faces in a room after a search at 0 s, which what was seen an instant before brings about."""
    seen = lookout.detect(at(room, -0.01))
    return lookout.detect(at(room, 0), [*seen, *seen, *seen])


def test_a_close_look_finds_a_known_face_where_a_search_does(photo: Photo, far: Detector, near: Detector) -> None:
    room = scene(photo("biden"), 220)
    (searched,) = far.detect(at(room, 0))
    (close,) = near.detect_around(at(room, 0), searched)
    assert close.box.iou(searched.box) > 0.6
    eyes = np.linalg.norm(searched.keypoints_px[1] - searched.keypoints_px[0])
    assert np.abs(close.keypoints_px[:2] - searched.keypoints_px[:2]).max() < 0.2 * eyes


@pytest.mark.parametrize(("left", "top"), [(0, 0), (440, 0), (0, 200), (440, 200)])
def test_a_close_look_reaches_into_every_corner(
    photo: Photo, far: Detector, near: Detector, left: int, top: int
) -> None:
    room = scene(photo("biden"), left, top=top)
    (searched,) = far.detect(at(room, 0))
    (close,) = near.detect_around(at(room, 0), searched)
    assert close.box.iou(searched.box) > 0.6


def test_a_close_look_at_a_face_larger_than_the_frame_sees_the_frame(near: Detector) -> None:
    near.detect_around(at(np.full((480, 640, 3), 128, np.uint8), 0), made_up(320, 240, side=2000))


def test_a_newcomer_is_seen_by_the_next_search_at_the_latest(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 40))
    both = scene(photo("biden"), 40, 380)
    assert len(lookout.detect(at(both, 0.1), [known])) == 1
    assert len(lookout.detect(at(both, CONFIG.far_scan_every_s), [known])) == 2


def test_who_comes_near_after_a_rest_waits_for_no_search_which_follows_with_the_next_frame(
    photo: Photo, far: Detector, near: Detector, lookout: CascadeDetector
) -> None:
    room = scene(photo("biden"), 150, width=300, top=20)
    assert lookout.detect(at(scene(photo("biden")), 0)) == []
    (close,) = lookout.detect(at(room, 60))
    assert close.box == near.detect(at(room, 60))[0].box
    (searched_for,) = lookout.detect(at(room, 60.1), [close])
    assert searched_for.box == far.detect(at(room, 60))[0].box


def test_who_is_far_after_a_rest_is_found_in_the_first_frame(photo: Photo, lookout: CascadeDetector) -> None:
    assert lookout.detect(at(scene(photo("biden")), 0)) == []
    assert len(lookout.detect(at(scene(photo("biden"), 300, width=90), 60))) == 1


def test_who_comes_near_is_seen_at_once_and_who_is_far_by_the_next_search(
    photo: Photo, lookout: CascadeDetector
) -> None:
    """A portrait 90 px wide is beyond the near model."""
    empty, close, distant = (
        scene(photo("biden")),
        scene(photo("biden"), 150, width=300, top=20),
        scene(photo("biden"), 300, width=90),
    )
    assert lookout.detect(at(empty, 0)) == []
    assert len(lookout.detect(at(close, 0.1))) == 1
    assert lookout.detect(at(distant, 0.2)) == []
    assert len(lookout.detect(at(distant, CONFIG.far_scan_every_s))) == 1


def test_a_door_with_the_near_model_alone_searches_every_frame_until_somebody_is_followed(
    photo: Photo, near: Detector
) -> None:
    """A look between two searches would cost as much as another search, and leave small faces out."""
    alone = CascadeDetector(near, near, CONFIG)
    room = scene(photo("biden"), 220, width=160)
    (searched,) = alone.detect(at(room, 0))
    assert max(searched.box.width, searched.box.height) < 0.15 * 640
    (again,) = alone.detect(at(room, 0.1))
    assert again.box == searched.box


def test_who_is_not_found_again_is_searched_for_in_the_same_frame(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 0))
    (found,) = lookout.detect(at(scene(photo("biden"), 420), 0.1), [known])
    assert found.box.left > 400


def test_two_known_faces_that_have_become_one_bring_a_search(photo: Photo, lookout: CascadeDetector) -> None:
    (known,) = searched(lookout, scene(photo("biden"), 220))
    (found,) = lookout.detect(at(scene(photo("biden"), 220), 0.1), [known, known])
    assert found.box.iou(known.box) > 0.9


def test_a_search_follows_a_close_look_with_the_same_model(photo: Photo, near: Detector) -> None:
    """The close look fills the whole input; the grey border of a search must come back."""
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


def test_every_second_sample_of_a_visit_is_of_the_mirror_image(photo: Photo, vision: VisionStages) -> None:
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


def test_who_stands_still_and_is_known_is_looked_at_now_and_then(photo: Photo, watching: VisionStages) -> None:
    """Ten seconds at 20 frames a second: only as often as `still_scan_every_s` asks, and the visitor is not lost."""
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


def test_an_empty_room_is_looked_at_on_patrol_only(watching: VisionStages) -> None:
    count: Counter[str] = Counter()
    door = pipeline(watching, DoorConfig(site="s", door="d"), count)
    room = np.full((480, 640, 3), 128, np.uint8)
    for n in range(200):
        door.step(at(room, n / 20))
    assert not door.tracks
    assert 3 <= count["detect"] <= 2.0 * 20 + 6  # while the first movement lingers; then every two seconds
