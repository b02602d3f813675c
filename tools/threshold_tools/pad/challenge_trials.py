"""Simulated trials of the challenge: presenters in front of the detector, tracker, mesh and embedder of a door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np

from edge.core.config import DetectorConfig, LivenessConfig, TrackerConfig
from edge.core.records import BgrImage, Face, FloatArray, Frame, Landmarks
from edge.liveness.challenge import MovementChallenge
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement
from edge.vision.detector import Detector
from edge.vision.face_mesh import eye_centred
from edge.vision.face_sampler import VisionStages
from edge.vision.tracker import Tracker
from threshold_tools.pad.presenters import (
    MOVEMENTS,
    SLOW,
    USUAL,
    HeadMovement,
    HeldPhoto,
    PhotosInTurn,
    Presenter,
    Recording,
    StaticPhoto,
    Visitor,
    draw_movement,
)
from threshold_tools.pad.rendering import RenderedHead, add_spectacles, fit_portrait
from threshold_tools.reports.terminal import progress
from threshold_tools.stats import clopper_pearson

GENUINE = ("genuine", "genuine-slow", "genuine-far", "genuine-glasses")
# Attacks that must never pass.
ATTACKS = (
    *("photo-still", "photo-waved", "photo-turned", "photo-bent", "photos-in-turn"),
    *("replay-direction", "replay-order", "replay-time"),
)
# Attacks that pass sometimes; their rate is measured.
HARD = ("replay-blind", "photo-wrapped")
SPECIES = (*GENUINE, *ATTACKS, *HARD)
SAMPLE_S = 1 / 15  # frame interval of a door; a challenge samples every frame
_MAX_TRIAL_S = 60.0
_EYES_MM = 63.0  # between the eye centres of an adult
_BENT_MM, _WRAPPED_MM = (100.0, 400.0), (70.0, 90.0)  # radius: a sheet in two hands; around an object as wide as a head


class SpeciesTrials(msgspec.Struct, frozen=True):
    """Trials of one species."""

    species: str
    tries: int
    passed: int
    low: float  # 95 % interval (Clopper and Pearson 1934) of the share of passed trials, 0..1
    high: float
    reasons: dict[str, int]  # number of trials by outcome, "passed" among them


@dataclass(frozen=True, slots=True, eq=False)
class SampledPortrait:
    """Portrait of one frontal face, with its landmarks and vector."""

    portrait: BgrImage  # (H, W, 3) uint8 BGR
    landmarks: Landmarks
    embedding: FloatArray  # (D,) float32 unit vector

    @classmethod
    def of(cls, portrait: BgrImage, vision: VisionStages) -> Self | None:
        """Sample a portrait; None unless it shows exactly one frontal face that a door accepts."""
        faces = _search(portrait, vision)
        if len(faces) != 1:
            return None
        sample = vision.reader.sample(Frame(portrait, 0, 0), faces[0])
        frontal = abs(sample.quality.yaw_deg) <= 15 and abs(sample.quality.pitch_deg) <= 20
        if sample.embedding is None or sample.landmarks is None or not frontal:
            return None
        return cls(portrait, sample.landmarks, sample.embedding)


def measure_species(
    portraits: Sequence[SampledPortrait],
    species: str,
    vision: VisionStages,
    *,
    tries: int,
    seed: int,
    steps: int,
    sample_s: float,
) -> SpeciesTrials:
    """Measure how often a species passes; portraits are used one after another. See `try_species`."""
    reasons: Counter[str] = Counter()
    with progress(tries, species) as advance:
        for number in range(tries):
            portrait = portraits[number % len(portraits)]
            reasons[try_species(portrait, species, (seed, number), vision, steps=steps, sample_s=sample_s)] += 1
            advance()
    passed = reasons["passed"]
    interval = clopper_pearson(passed / tries, tries)
    return SpeciesTrials(species, tries, passed, interval.low, interval.high, dict(reasons.most_common()))


def try_species(
    portrait: SampledPortrait,
    species: str,
    seed: tuple[int, int],
    vision: VisionStages,
    *,
    steps: int = 2,
    sample_s: float = SAMPLE_S,
) -> str:
    """Run one trial; returns "passed", or the reason of the failure.

    Args:
        portrait: visitor, or person on the picture.
        species: one of SPECIES.
        seed: seed of all random values.
        vision: stages of the door.
        steps: number of movements requested.
        sample_s: interval between two samples of the face.
    """
    config = LivenessConfig(mode="challenge", challenge_steps=steps)
    draws = np.random.default_rng((*seed, 1)).random(64).tolist()
    kinds = config.challenge_movements
    asked = [ChallengeMovement(kinds[int(draw * len(kinds))]) for draw in draws[:steps]]
    presenter = _presenter(portrait, species, asked, np.random.default_rng((*seed, 2)), vision)
    challenge = MovementChallenge(config, 1, iter(draws).__next__, portrait.embedding, 0)
    tracker, whose = Tracker(TrackerConfig()), None
    for number in range(round(_MAX_TRIAL_S / sample_s)):
        t_s = number * sample_s
        t_ns = round(t_s * 1e9)
        frame = Frame(presenter.render(t_s), number, t_ns)
        tracks = tracker.update(vision.detector.detect(frame, tracker.faces), t_ns)
        for track in tracks:  # the challenge is for the recognised face; other faces are ignored
            if track.lost and track.id == whose:
                challenge.fail(ChallengeFailure.LEFT, t_ns)
            elif not track.lost and whose in (None, track.id):
                sample = vision.reader.sample(frame, eye_centred(track.face))
                whose = track.id if sample.embedding is not None else whose
                challenge.observe(sample, t_ns)
        challenge.pass_time(t_ns)
        for prompt in challenge.drain_prompts():
            presenter.on_prompt(prompt, t_s)
        if challenge.is_over:
            break
    return challenge.reason or str(challenge.state)


def _search(picture: BgrImage, vision: VisionStages) -> list[Face]:
    """All faces of a still picture, largest first, found by a new detector without memory of other pictures."""
    return Detector(vision.models[0], DetectorConfig()).detect(Frame(picture, 0, 0))


def _presenter(
    sampled: SampledPortrait,
    species: str,
    asked: list[ChallengeMovement],
    rng: np.random.Generator,
    vision: VisionStages,
) -> Presenter:
    portrait, landmarks = sampled.portrait, sampled.landmarks
    eyes_px = float(rng.uniform(20, 26) if species == "genuine-far" else rng.uniform(30, 55))
    if species == "genuine-glasses":
        portrait = add_spectacles(portrait, landmarks)
    picture = fit_portrait(portrait, landmarks, eyes_px)
    if species in ("photo-still", "photo-waved"):
        return StaticPhoto(picture, rng, waved=species == "photo-waved")
    if species == "photo-turned":
        return HeldPhoto(picture, rng)
    if species in ("photo-bent", "photo-wrapped"):
        radius_mm = rng.uniform(*(_BENT_MM if species == "photo-bent" else _WRAPPED_MM))
        return HeldPhoto(picture, rng, radius_mm * eyes_px / _EYES_MM)
    standing = vision.reader.sample(Frame(picture, 0, 0), _search(picture, vision)[0]).landmarks
    assert standing is not None
    head = RenderedHead(picture, standing)
    if species in GENUINE:
        return Visitor(head, rng, SLOW if species == "genuine-slow" else USUAL)
    if species == "photos-in-turn":
        return PhotosInTurn(head, rng)
    return Recording(head, _recorded(species, asked, rng), rng)


def _recorded(species: str, asked: list[ChallengeMovement], rng: np.random.Generator) -> tuple[HeadMovement, ...]:
    """Movements recorded at another challenge: other movements, another order, or other times."""
    if species == "replay-time":
        # The requested movements in order, but begun before the request, or too late.
        early, late = [rng.uniform(0.0, 0.4) for _ in asked], [rng.uniform(8.1, 10.5), *(0.5 for _ in asked[1:])]
        return _movements(asked, early if rng.random() < 0.5 else late, rng)
    if species == "replay-blind":
        done = [MOVEMENTS[int(rng.integers(len(MOVEMENTS)))] for _ in asked]  # sometimes the right ones
    elif species == "replay-order":
        done = asked[::-1]
        if done == asked:
            done = [next(each for each in MOVEMENTS if each != asked[0]), *asked[1:]]
    else:
        others = [[other for other in MOVEMENTS if other != each] for each in asked]
        done = [some[int(rng.integers(len(some)))] for some in others]
    return _movements(done, rng.uniform(1.0, 2.5, len(done)).tolist(), rng)


def _movements(
    kinds: list[ChallengeMovement], rests_s: list[float], rng: np.random.Generator
) -> tuple[HeadMovement, ...]:
    """Random movements of these kinds, each after a pause."""
    movements: list[HeadMovement] = []
    for kind, rest_s in zip(kinds, rests_s, strict=True):
        movements.append(draw_movement(kind, (movements[-1].end_s if movements else 0.0) + rest_s, rng))
    return tuple(movements)
