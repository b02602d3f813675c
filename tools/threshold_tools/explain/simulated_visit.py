"""What a door would make of it: the door's own loop, shown one photo again and again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.access.model import AccessRules
from edge.access.policy import Policy
from edge.core.config import DoorConfig, RecognitionConfig
from edge.core.errors import InputError
from edge.core.records import Decision, FloatArray, Frame, Match, Person, Sample, Track
from edge.core.validation_messages import did_you_mean
from edge.pipeline import Pipeline
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.vision.face_sampler import VisionStages
from threshold_tools.explain.photo import ExplainedPhoto, Viewer
from threshold_tools.explain.report import NearestPerson, SimulatedDecision
from threshold_tools.thresholds import threshold_sq

ONE_STRANGER_IN = 1000  # for a photo that is held against as if it were enrolled: the default of enrolment
_NEAREST = 5
_FRAME_S = 1 / 15  # a door's camera is asked for so many frames
_SAME_BOX = 0.5  # IoU


@dataclass(frozen=True, slots=True)
class SimulatedDoor:
    """Whom a door knows, what it asks for, and whom it lets pass when.

    Attributes:
        gallery: the people; for two photos and no gallery, the second photo alone.
        config: of the door.
        rules: who may pass.
        wall_ns: the moment of the visit, nanoseconds since 1970 UTC, or None: the clock is not set.
    """

    gallery: Gallery
    config: DoorConfig
    rules: AccessRules
    wall_ns: int | None = None

    @property
    def policy(self) -> Policy:
        return Policy(self.rules, self.config.door)

    @property
    def demands(self) -> RecognitionConfig:
        """What it asks of a verdict."""
        return self.policy.apply_to(self.config.recognition)


def simulate_visit(door: SimulatedDoor, subject: ExplainedPhoto, vision: VisionStages) -> SimulatedDecision:
    """Hold the photo before the door until it answers.

    Args:
        door: which one.
        subject: the face that the answer is about.
        vision: the stages with the gates of this door.
    """
    demands, sample = door.demands, subject.sample
    if sample.embedding is None:
        return SimulatedDecision("", 0, sample.quality.refusal, "", demands.min_samples, counts=False)
    first = _measured(door.gallery, demands, sample.embedding, subject)
    counts = first.person is not None and first.distance_sq <= first.threshold_sq + demands.vote_slack_sq
    pipeline = Pipeline(door.config, vision, door.gallery, rules=door.rules, random_number=random.Random(0).random)
    step_s = min(max(demands.sample_every_s, _FRAME_S), door.config.tracker.lost_after_s / 2)
    frames = math.ceil(demands.sample_every_s / step_s + 1) * max(demands.min_samples, demands.unknown_samples)
    for count in range(frames):
        t_ns = count * math.ceil(step_s * 1e9)
        for decision in pipeline.step(Frame(subject.pixels, count, t_ns), door.wall_ns):
            if decision.verdict.track.face.box.iou(subject.face.box) > _SAME_BOX:
                return _answer(decision, demands.min_samples, counts=counts)
    return SimulatedDecision("", 0, "undecided", "", demands.min_samples, counts=counts)


def _answer(decision: Decision, needed: int, *, counts: bool) -> SimulatedDecision:
    reason = decision.reason or decision.verdict.reason
    return SimulatedDecision(str(decision.kind), decision.verdict.samples, reason, decision.rule, needed, counts=counts)


def distance_to(door: SimulatedDoor, subject: ExplainedPhoto, row: int) -> NearestPerson:
    """How far a face is from one person of the gallery, under this door's threshold for them."""
    gallery = door.gallery
    only = Gallery([gallery.people[row]], gallery.centroids[[row]], gallery.thresholds_sq[[row]], gallery.info)
    match = _measured(only, door.demands, subject.embedding, subject)
    person = gallery.people[row]
    return NearestPerson(person.id, person.name, match.distance_sq, match.threshold_sq)


def nearest_people(door: SimulatedDoor, subject: ExplainedPhoto) -> list[NearestPerson]:
    """The nearest people of the gallery, nearest first."""
    rows = np.argsort(-(door.gallery.centroids @ subject.embedding), kind="stable")[:_NEAREST]
    return [distance_to(door, subject, int(row)) for row in rows]


def row_of(gallery: Gallery, person: str, path: Path) -> int:
    """Where a person stands in a gallery.

    Raises:
        InputError: nobody there has this id.
    """
    by_id = {each.id: row for row, each in enumerate(gallery.people)}
    if person in by_id:
        return by_id[person]
    named = {each.name: each.id for each in gallery.people}
    if person in named:
        raise InputError(f"{path}: nobody has the id '{person}'; the id of {person} is '{named[person]}'")
    few = ", ".join(list(by_id)[:_NEAREST]) + (" …" if len(by_id) > _NEAREST else "")
    hint = did_you_mean(person, by_id, f"enrolled are {few}" if by_id else "it is empty")
    raise InputError(f"{path}: nobody has the id '{person}', and there is no photo of that name; {hint}")


def enrolled_alone(viewer: Viewer, subject: ExplainedPhoto) -> Gallery:
    """A gallery of one photo's face."""
    limit_sq = threshold_sq(viewer.reader.impostors, one_stranger_in=ONE_STRANGER_IN, people=1)
    person = Person(subject.path.stem, subject.path.name)
    info = GalleryInfo("", viewer.reader.embedder_sha256, 1)
    return Gallery([person], subject.enrolled[None], np.array([limit_sq], np.float32), info)


def _measured(gallery: Gallery, demands: RecognitionConfig, embedding: FloatArray, subject: ExplainedPhoto) -> Match:
    """The judge's measurement of one sample, the door's own threshold and factor included; one refused counts fully."""
    judge = IdentityAggregator(gallery, demands)
    track = Track(1, subject.face, 0, 0, 1)
    judge.add_sample(track, Sample(embedding, replace(subject.sample.quality, weight=1.0, refusal=""), None), 0)
    match = judge.snapshot(track).match
    assert match is not None
    return match
