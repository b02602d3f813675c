"""Simulates a visit: the pipeline of a door processes one photo repeatedly."""

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
from edge.core.records import FloatArray, Frame, Match, Person, Sample, Track
from edge.core.toml_config import did_you_mean
from edge.pipeline import Pipeline
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.vision.face_sampler import VisionStages
from threshold_tools.explain.photo import ExplainedPhoto, PhotoAnalyzer
from threshold_tools.explain.report import NearestPerson, SimulatedDecision
from threshold_tools.thresholds import threshold_sq

ONE_STRANGER_IN = 1000  # target for a photo that is compared as if it were enrolled; the default of enrolment
_NEAREST = 5
_FRAME_S = 1 / 15  # frame interval of a door's camera
_SAME_BOX = 0.5  # IoU


@dataclass(frozen=True, slots=True)
class SimulatedDoor:
    """A door: its gallery, configuration and access rules."""

    gallery: Gallery  # gallery of the door; without one, a gallery of the second photo
    config: DoorConfig  # configuration
    rules: AccessRules  # access rules
    wall_ns: int | None = None  # time of the visit, nanoseconds since 1970 UTC; None: the clock is not set

    @property
    def recognition(self) -> RecognitionConfig:
        """Settings of recognition, from the access rules and the configuration."""
        return Policy(self.rules, self.config.door).apply_to(self.config.recognition)


def simulate_visit(door: SimulatedDoor, photo: ExplainedPhoto, vision: VisionStages) -> SimulatedDecision:
    """Process the photo repeatedly until the door decides; `vision` has the limits of this door."""
    conditions, sample = door.recognition, photo.sample
    if sample.embedding is None:
        return SimulatedDecision("", 0, sample.quality.refusal, "", conditions.min_samples, False)
    first = _measured(door.gallery, conditions, sample.embedding, photo)
    counts = first.person is not None and first.distance_sq <= first.threshold_sq + conditions.vote_slack_sq
    pipeline = Pipeline(door.config, vision, door.gallery, rules=door.rules, random_number=random.Random(0).random)
    step_s = min(max(conditions.sample_every_s, _FRAME_S), door.config.tracker.lost_after_s / 2)
    frames = math.ceil(conditions.sample_every_s / step_s + 1) * max(conditions.min_samples, conditions.unknown_samples)
    for count in range(frames):
        t_ns = count * math.ceil(step_s * 1e9)
        for decision in pipeline.step(Frame(photo.pixels, count, t_ns), door.wall_ns):
            if decision.verdict.track.face.box.iou(photo.face.box) > _SAME_BOX:
                verdict, reason = decision.verdict, decision.reason or decision.verdict.reason
                kind = str(decision.kind)
                return SimulatedDecision(kind, verdict.samples, reason, decision.rule, conditions.min_samples, counts)
    return SimulatedDecision("", 0, "undecided", "", conditions.min_samples, counts)


def distance_to(door: SimulatedDoor, photo: ExplainedPhoto, row: int) -> NearestPerson:
    """Distance of a face to one person of the gallery, and the threshold of the door for that person."""
    gallery = door.gallery
    only = Gallery([gallery.people[row]], gallery.centroids[[row]], gallery.thresholds_sq[[row]], gallery.info)
    match = _measured(only, door.recognition, photo.embedding, photo)
    person = gallery.people[row]
    return NearestPerson(person.id, person.name, match.distance_sq, match.threshold_sq)


def nearest_people(door: SimulatedDoor, photo: ExplainedPhoto) -> list[NearestPerson]:
    """The nearest people of the gallery, nearest first."""
    rows = np.argsort(-(door.gallery.centroids @ photo.embedding), kind="stable")[:_NEAREST]
    return [distance_to(door, photo, int(row)) for row in rows]


def row_of(gallery: Gallery, person: str, path: Path) -> int:
    """The row of a person in a gallery.

    Raises:
        InputError: no person in it has this id.
    """
    by_id = {each.id: row for row, each in enumerate(gallery.people)}
    if person in by_id:
        return by_id[person]
    named = {each.name: each.id for each in gallery.people}
    if person in named:
        raise InputError(f"{path}: no person has the id '{person}'; the id of {person} is '{named[person]}'")
    few = ", ".join(list(by_id)[:_NEAREST]) + (" …" if len(by_id) > _NEAREST else "")
    hint = did_you_mean(person, by_id, f"enrolled are {few}" if by_id else "it is empty")
    raise InputError(f"{path}: no person has the id '{person}', and there is no photo of that name; {hint}")


def enrolled_alone(analyzer: PhotoAnalyzer, photo: ExplainedPhoto) -> Gallery:
    """A gallery that contains only the face of a photo."""
    limit_sq = threshold_sq(analyzer.sampler.impostors, one_stranger_in=ONE_STRANGER_IN, people=1)
    person = Person(photo.path.stem, photo.path.name)
    info = GalleryInfo("", analyzer.sampler.embedder_sha256, 1)
    return Gallery([person], photo.enrolled[None], np.array([limit_sq], np.float32), info)


def _measured(gallery: Gallery, conditions: RecognitionConfig, embedding: FloatArray, photo: ExplainedPhoto) -> Match:
    """Match of one sample under the thresholds of the door; a rejected sample gets full weight."""
    aggregator = IdentityAggregator(gallery, conditions)
    track = Track(1, photo.face, 0, 0, 1)
    aggregator.add_sample(track, Sample(embedding, replace(photo.sample.quality, weight=1.0, refusal=""), None), 0)
    match = aggregator.snapshot(track).match
    assert match is not None
    return match
