"""Pipeline: frames in, decisions out; with fake vision, or the real models where they matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from soak.fake_vision import FakeVision, fake_bundle

from edge.access.model import AccessRules, AllowRule, DoorRules, allow_list
from edge.access.policy_file import parse_policy
from edge.core.config import (
    DetectorConfig,
    DoorConfig,
    ModelsConfig,
    MotionConfig,
    QualityConfig,
    RecognitionConfig,
    TrackerConfig,
)
from edge.core.records import AccessOutcome, Decision, Face, Frame, Sample
from edge.demo.run_demo import CLIP, GALLERY
from edge.pipeline import Pipeline
from edge.recognition.gallery import Gallery, empty_gallery
from edge.recognition.gallery_file import load_gallery
from edge.vision.face_sampler import VisionStages, load_vision

S = 1_000_000_000
FPS = 10
NOBODY, ADA, BERT, CARL, STRANGER = 0, 1, 2, 3, 200
NIGHT = """
timezone = "UTC"
[schedules.night]
mon-sun = ["22:00-23:59"]
[doors.front]
allow = [{ people = ["*"], schedule = "night" }]
"""


class CountingVision(FakeVision):
    """Counts detector runs and notes which samples were mirrored."""

    def __init__(self) -> None:
        self.detections = 0
        self.mirrored: list[bool] = []

    def detect(self, frame: Frame, known: Sequence[Face] = ()) -> list[Face]:
        self.detections += 1
        return super().detect(frame, known)

    def sample(self, frame: Frame, face: Face, *, mirrored: bool = False) -> Sample:
        self.mirrored.append(mirrored)
        return super().sample(frame, face, mirrored=mirrored)


class Door:
    """Pipeline with fake vision, and frames of people by number at 10 fps."""

    def __init__(self, rules: AccessRules | None = None, *, motion: bool = False) -> None:
        self.vision = CountingVision()
        self.stages = VisionStages(self.vision, self.vision, ())  # type: ignore[arg-type]
        config = DoorConfig(
            site="home",
            door="front",
            motion=MotionConfig(enabled=motion),
            tracker=TrackerConfig(lost_after_s=0.2),
            recognition=RecognitionConfig(sample_every_s=0.0, unknown_samples=5),
        )
        self.gallery = fake_bundle().gallery
        self.pipeline = Pipeline(config, self.stages, self.gallery, rules=rules or allow_list(["ada", "bert"]))
        self.frames = 0
        self.wall_minus_monotonic_ns: int | None = None

    @property
    def t_ns(self) -> int:
        return self.frames * S // FPS

    def show(self, who: int, seconds: float) -> list[Decision]:
        """Show a person for this time; returns the decisions."""
        decisions = []
        for _ in range(round(seconds * FPS)):
            pixels = np.full((96, 128, 3), 128, np.uint8)
            pixels[0, 0] = (who, 40, 128)
            decisions += self.pipeline.step(Frame(pixels, self.frames, self.t_ns), self.wall_minus_monotonic_ns)
            self.frames += 1
        return decisions


def kinds(decisions: list[Decision]) -> list[str]:
    return [str(decision.kind) for decision in decisions]


# One visitor


def test_recognised_person_opens_once() -> None:
    """After `min_samples` agreeing samples; the decision contains the evidence."""
    door = Door()
    (decision,) = door.show(ADA, 2)
    assert (decision.kind, decision.verdict.samples) == (AccessOutcome.DOOR_OPEN, 3)
    assert decision.verdict.match.person is not None
    assert decision.verdict.match.person.id == "ada"
    assert decision.t_ns == 2 * S // FPS  # capture time of the third frame


def test_person_without_a_rule_is_denied() -> None:
    assert kinds(Door().show(CARL, 2)) == ["denied"]


def test_stranger_is_unknown_after_more_samples() -> None:
    (decision,) = Door().show(STRANGER, 2)
    assert (decision.kind, decision.verdict.samples) == (AccessOutcome.UNKNOWN, 5)


def test_empty_scene_decides_nothing() -> None:
    door = Door()
    assert door.show(NOBODY, 2) == []
    assert (len(door.pipeline.tracks), door.pipeline.samples) == (0, {})


def test_every_second_sample_is_mirrored() -> None:
    door = Door()
    door.show(STRANGER, 0.4)
    assert door.vision.mirrored == [False, True, False, True]


def test_still_scene_is_not_searched() -> None:
    """The detector runs while somebody is tracked, and then only at `idle_scan_every_s` without motion."""
    door = Door(motion=True)
    door.show(NOBODY, 20)
    idle = door.vision.detections
    assert 0 < idle < 100
    door.vision.detections = 0
    door.show(NOBODY, 5)
    assert door.vision.detections <= 10


# The end of the source


def test_flush_decides_on_people_who_are_still_there() -> None:
    """A stranger with only three samples is unknown when the source has ended, not before."""
    door = Door()
    assert door.show(STRANGER, 0.3) == []
    assert kinds(door.pipeline.flush(door.t_ns)) == ["unknown"]
    assert all(track.lost for track in door.pipeline.tracks)


# Denials that end, and open commands that fail


def test_denied_person_opens_when_the_time_window_begins(tmp_path: Path) -> None:
    """They do not have to return; while the wall clock is not set, a rule with times lets nobody in."""
    (tmp_path / "policy.toml").write_text(NIGHT)
    door = Door(parse_policy(tmp_path / "policy.toml"))
    (denied,) = door.show(ADA, 2)
    assert (denied.kind, denied.reason) == (AccessOutcome.DENIED, "clock-not-set")
    noon = 12 * 3600 * S
    door.wall_minus_monotonic_ns = noon
    assert door.show(ADA, 2) == []
    door.wall_minus_monotonic_ns = noon + 10 * 3600 * S
    assert kinds(door.show(ADA, 2)) == ["door-open"]


def test_retry_after_a_failed_open() -> None:
    """Only for the named person, and once; `[mqtt] open_max_age_s` is 3 s."""
    door = Door()
    (first,) = door.show(ADA, 1)
    door.pipeline.open_failed("bert")
    assert door.show(ADA, 5) == []
    door.pipeline.open_failed("ada")
    (second,) = door.show(ADA, 5)
    assert second.kind is AccessOutcome.DOOR_OPEN
    assert second.t_ns - first.t_ns >= 3 * S


# Swapped models, people and rules: a release between two frames


def test_swap_to_rules_that_deny() -> None:
    door = Door()
    door.show(ADA, 0.2)
    door.pipeline.swap_models(door.stages, door.gallery, allow_list([]))
    assert kinds(door.show(ADA, 2)) == ["denied"]


def frames(count: int) -> list[Frame]:
    """The first frames of the bundled clip, in which the enrolled person approaches."""
    source = cv2.VideoCapture(str(CLIP))
    read = [source.read()[1] for _ in range(count)]
    source.release()
    return [Frame(np.asarray(pixels, np.uint8), seq, round(seq * 1e9 / 15)) for seq, pixels in enumerate(read)]


@pytest.fixture(scope="module")
def clip() -> list[Frame]:
    return frames(90)


@pytest.fixture
def gallery(vision: VisionStages) -> Gallery:
    return load_gallery(GALLERY, vision.reader.embedder.sha256)


def quick() -> DoorConfig:
    config = DoorConfig(site="home", door="front")
    return msgspec.structs.replace(config, recognition=msgspec.structs.replace(config.recognition, sample_every_s=0.0))


def opened(decisions: list[Decision]) -> bool:
    return any(decision.kind is AccessOutcome.DOOR_OPEN for decision in decisions)


def test_evidence_of_a_removed_person(vision: VisionStages, gallery: Gallery, clip: list[Frame]) -> None:
    """The swap happens one frame before the opening; without it the same frames open the door."""
    plain = Pipeline(quick(), vision, gallery)
    first = next(seq for seq, frame in enumerate(clip) if opened(plain.step(frame)))
    swapped = Pipeline(quick(), vision, gallery)
    for seq, frame in enumerate(clip):
        if seq == first:
            nobody = empty_gallery(vision.reader.embedder.dimension, vision.reader.embedder.sha256)
            swapped.swap_models(vision, nobody, allow_list(["*"]))
        assert not opened(swapped.step(frame))


def test_person_who_stays_enrolled_is_announced_once(vision: VisionStages, gallery: Gallery, clip: list[Frame]) -> None:
    """A swap before the verdict delays it by the required samples; a later one causes no second report."""
    plain = Pipeline(quick(), vision, gallery)
    first = next(seq for seq, frame in enumerate(clip) if opened(plain.step(frame)))
    swapped = Pipeline(quick(), vision, gallery)
    opens = 0
    for seq, frame in enumerate(clip[: first + 20]):
        if seq in (first, first + 12):
            swapped.swap_models(vision, gallery, allow_list(["*"]))
        opens += opened(swapped.step(frame))
    assert opens == 1


def test_sample_count_of_new_rules(vision: VisionStages, gallery: Gallery, clip: list[Frame]) -> None:
    """Rules that require more samples apply from the next frame on."""
    pipeline = Pipeline(quick(), vision, gallery)
    rules = AccessRules(doors=(("front", DoorRules("doors.front", (AllowRule("all", ("*",)),), min_samples=9)),))
    pipeline.swap_models(vision, gallery, rules)
    (first, *_) = [decision for frame in clip for decision in pipeline.step(frame)]
    assert (first.kind, first.verdict.samples) == (AccessOutcome.DOOR_OPEN, 9)


def test_use_of_swapped_models(vision: VisionStages, gallery: Gallery, clip: list[Frame]) -> None:
    """The new face sampler samples the faces, and the new detector finds them."""
    pipeline = Pipeline(quick(), vision, gallery)
    choosy = load_vision(ModelsConfig(), DetectorConfig(far_scan_every_s=0), QualityConfig(min_size_px=400))
    pipeline.swap_models(choosy, gallery, allow_list(["*"]))
    assert [decision for frame in clip[:60] for decision in pipeline.step(frame)] == []
    assert set(pipeline.aggregator.refusals) == {"too-small"}
    blind = load_vision(ModelsConfig(), DetectorConfig(far_scan_every_s=0, min_score=1.0), QualityConfig())
    pipeline.swap_models(blind, gallery, allow_list(["*"]))
    for frame in clip[60:]:
        pipeline.step(frame)
    assert not [track for track in pipeline.tracks if not track.lost]
