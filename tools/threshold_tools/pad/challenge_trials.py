"""A challenge tried on an actor: the door's own detector, tracker, mesh and embedder look at him."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import beta

from edge.core.config import DetectorConfig, LivenessConfig, ModelsConfig, QualityConfig, TrackerConfig
from edge.core.records import BgrImage, Face, Frame, Sample
from edge.liveness.challenge import MovementChallenge
from edge.liveness.prompts import ChallengeMovement
from edge.vision.detector import Detector
from edge.vision.face_mesh import eye_centred
from edge.vision.face_sampler import VisionStages, load_vision
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

GENUINE = ("genuine", "genuine-slow", "genuine-far", "genuine-glasses")
# None of these may pass.
ATTACKS = (
    *("photo-still", "photo-waved", "photo-turned", "photo-bent", "photos-in-turn"),
    *("replay-direction", "replay-order", "replay-time"),
)
# These pass at times, and how often is worth knowing.
HARD = ("replay-blind", "photo-wrapped")
SPECIES = (*GENUINE, *ATTACKS, *HARD)
LOOK_S = 1 / 15  # a door's camera gives so many frames, and a challenge has a look at each
_LONGEST_S = 60.0
_EYES_MM = 63.0  # between the eye centres of a grown-up
_BENT_MM, _WRAPPED_MM = (100.0, 400.0), (70.0, 90.0)  # radius: a sheet in two hands; around something as wide as a head


@dataclass(frozen=True, slots=True)
class SampledPortrait:
    """A portrait that serves, with its face's mesh and embedding."""

    portrait: BgrImage
    sample: Sample

    @classmethod
    def of(cls, portrait: BgrImage, vision: VisionStages) -> Self | None:
        """None where there is not one frontal face that may count as evidence."""
        faces = _search(portrait, vision)
        if len(faces) != 1:
            return None
        sample = vision.reader.sample(Frame(portrait, 0, 0), faces[0])
        frontal = abs(sample.quality.yaw_deg) <= 15 and abs(sample.quality.pitch_deg) <= 20
        return cls(portrait, sample) if sample.embedding is not None and frontal else None


def ready() -> VisionStages:
    """What a door sees with."""
    return load_vision(ModelsConfig(threads=1), DetectorConfig(), QualityConfig())


def draw_movements(config: LivenessConfig, seed: tuple[int, int]) -> tuple[list[ChallengeMovement], list[float]]:
    """What the challenge of a seed will ask, and the numbers that chance gives it."""
    draws = np.random.default_rng((*seed, 1)).random(64).tolist()
    return [
        ChallengeMovement(config.challenge_movements[int(draw * len(config.challenge_movements))])
        for draw in draws[: config.challenge_steps]
    ], draws


def try_species(
    model: SampledPortrait,
    species: str,
    seed: tuple[int, int],
    vision: VisionStages,
    *,
    steps: int = 2,
    look_s: float = LOOK_S,
) -> str:
    """One try; "passed", or why it failed.

    Args:
        model: who, or whose picture.
        species: one of SPECIES.
        seed: of everything random.
        vision: of the door.
        steps: movements asked in a row.
        look_s: between two looks.
    """
    config = LivenessConfig(mode="challenge", challenge_steps=steps)
    asks, draws = draw_movements(config, seed)
    rng = np.random.default_rng((*seed, 2))
    actor = _actor(model, species, asks, rng, vision)
    embedding = model.sample.embedding
    assert embedding is not None
    return run_trial(actor, MovementChallenge(config, 1, iter(draws).__next__, embedding, 0), vision, look_s)


def run_trial(actor: Presenter, challenge: MovementChallenge, vision: VisionStages, look_s: float = LOOK_S) -> str:
    """Let an actor try a challenge; "passed", or why it failed."""
    tracker, whose = Tracker(TrackerConfig()), None
    for look in range(round(_LONGEST_S / look_s)):
        t_s = look * look_s
        t_ns = round(t_s * 1e9)
        frame = Frame(actor.render(t_s), look, t_ns)
        tracks = tracker.update(vision.detector.detect(frame, tracker.faces), t_ns)
        for track in tracks:  # a challenge is about the one that was recognised, whoever else is in the picture
            if track.lost and track.id == whose:
                challenge.fail("left", t_ns)
            elif not track.lost and whose in (None, track.id):
                sample = vision.reader.sample(frame, eye_centred(track.face))
                whose = track.id if sample.embedding is not None else whose
                challenge.observe(sample, t_ns)
        challenge.pass_time(t_ns)
        for prompt in challenge.drain_prompts():
            actor.on_prompt(prompt, t_s)
        if challenge.is_over:
            break
    return challenge.reason or str(challenge.state)


def summary(passed: int, tries: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper and Pearson 1934)."""
    low = float(beta.ppf(0.025, passed, tries - passed + 1)) if passed else 0.0
    high = float(beta.ppf(0.975, passed + 1, tries - passed)) if passed < tries else 1.0
    return low, high


def _search(picture: BgrImage, vision: VisionStages) -> list[Face]:
    """All faces of a still picture, the largest first, whatever the door's detector remembers of other pictures."""
    return Detector(vision.models[0], DetectorConfig()).detect(Frame(picture, 0, 0))


def _actor(
    model: SampledPortrait, species: str, asks: list[ChallengeMovement], rng: np.random.Generator, vision: VisionStages
) -> Presenter:
    landmarks = model.sample.landmarks
    assert landmarks is not None
    eyes_px = float(rng.uniform(20, 26) if species == "genuine-far" else rng.uniform(30, 55))
    portrait = add_spectacles(model.portrait, landmarks) if species == "genuine-glasses" else model.portrait
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
    return (
        PhotosInTurn(head, rng) if species == "photos-in-turn" else Recording(head, _recorded(species, asks, rng), rng)
    )


def _recorded(species: str, asks: list[ChallengeMovement], rng: np.random.Generator) -> tuple[HeadMovement, ...]:
    """Movements recorded at another challenge: other ones, the same in another order, or at other times."""
    if species == "replay-time":
        # Those that are asked, in order, but begun before they are, or too late to be done in time.
        early, late = [rng.uniform(0.0, 0.4) for _ in asks], [rng.uniform(8.1, 10.5), *(0.5 for _ in asks[1:])]
        return _moves(asks, early if rng.random() < 0.5 else late, rng)
    if species == "replay-blind":
        done = [MOVEMENTS[int(rng.integers(len(MOVEMENTS)))] for _ in asks]  # and so at times the right ones
    elif species == "replay-order":
        done = asks[::-1]
        if done == asks:
            done = [next(ask for ask in MOVEMENTS if ask != asks[0]), *asks[1:]]
    else:
        done = [_other(ask, rng) for ask in asks]
    return _moves(done, rng.uniform(1.0, 2.5, len(done)).tolist(), rng)


def _other(ask: ChallengeMovement, rng: np.random.Generator) -> ChallengeMovement:
    others = [other for other in MOVEMENTS if other != ask]
    return others[int(rng.integers(len(others)))]


def _moves(asks: list[ChallengeMovement], rests_s: list[float], rng: np.random.Generator) -> tuple[HeadMovement, ...]:
    moves: list[HeadMovement] = []
    for ask, rest_s in zip(asks, rests_s, strict=True):
        moves.append(draw_movement(ask, (moves[-1].end_s if moves else 0.0) + rest_s, rng))
    return tuple(moves)
