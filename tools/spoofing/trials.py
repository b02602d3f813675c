"""A challenge tried on an actor: the door's own detector, tracker, mesh and embedder, ten looks a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import beta

from edge.config import DetectorConfig, LivenessConfig, ModelsConfig, QualityConfig, TrackerConfig
from edge.liveness.challenge import Challenge
from edge.records import Ask, Frame, Pixels, Sample
from edge.vision.reader import Vision, load_vision
from edge.vision.tracker import Tracker
from spoofing.actors import ASKS, Actor, HeldPhoto, Move, Recording, Visitor, draw_move
from spoofing.turns import Head, stand

SPECIES = ("genuine", "photo", "replay-direction", "replay-order", "replay-time")
LOOK_S = 0.1
_LONGEST_S = 40.0


@dataclass(frozen=True, slots=True)
class Model:
    """A portrait that serves, with its face's mesh and embedding."""

    portrait: Pixels
    sample: Sample

    @classmethod
    def of(cls, portrait: Pixels, vision: Vision) -> Self | None:
        """None where there is not one frontal face that may count as evidence."""
        faces = vision.detector.detect(Frame(portrait, 0, 0))
        if len(faces) != 1:
            return None
        sample = vision.reader.read(Frame(portrait, 0, 0), faces[0])
        frontal = abs(sample.quality.yaw_deg) <= 15 and abs(sample.quality.pitch_deg) <= 20
        return cls(portrait, sample) if sample.embedding is not None and frontal else None


def ready() -> Vision:
    """The models of a door, every frame searched, so that no try depends on another."""
    return load_vision(ModelsConfig(threads=1), DetectorConfig(scan_every_s=0), QualityConfig())


def asked_of(config: LivenessConfig, seed: tuple[int, int]) -> tuple[list[Ask], list[float]]:
    """What the challenge of a seed will ask, and the numbers that chance gives it."""
    draws = np.random.default_rng((*seed, 1)).random(64).tolist()
    return [Ask(config.asks[int(draw * len(config.asks))]) for draw in draws[: config.ask_steps]], draws


def try_one(model: Model, species: str, seed: tuple[int, int], vision: Vision) -> str:
    """One try; "passed", or why it failed.

    Args:
        model: who, or whose picture.
        species: one of SPECIES.
        seed: of everything random.
    """
    config = LivenessConfig(mode="challenge")
    asks, draws = asked_of(config, seed)
    rng = np.random.default_rng((*seed, 2))
    actor = _actor(model, species, asks, rng, vision)
    embedding = model.sample.embedding
    assert embedding is not None
    return perform(actor, Challenge(config, 1, iter(draws).__next__, embedding, 0), vision)


def perform(actor: Actor, challenge: Challenge, vision: Vision) -> str:
    """Let an actor try a challenge; "passed", or why it failed."""
    tracker = Tracker(TrackerConfig())
    for look in range(round(_LONGEST_S / LOOK_S)):
        t_s = look * LOOK_S
        t_ns = round(t_s * 1e9)
        frame = Frame(actor.frame(t_s), look, t_ns)
        tracks = tracker.update(vision.detector.detect(frame, tracker.faces), t_ns)
        here = [track for track in tracks if not track.lost]
        if here:
            challenge.observe(vision.reader.read(frame, here[0].face), t_ns)
        elif any(track.lost for track in tracks):
            challenge.fail("left", t_ns)
        challenge.pass_time(t_ns)
        for prompt in challenge.take_prompts():
            actor.hear(prompt, t_s)
        if challenge.over:
            break
    return challenge.reason or str(challenge.state)


def summary(passed: int, tries: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper and Pearson 1934)."""
    low = float(beta.ppf(0.025, passed, tries - passed + 1)) if passed else 0.0
    high = float(beta.ppf(0.975, passed + 1, tries - passed)) if passed < tries else 1.0
    return low, high


def _actor(model: Model, species: str, asks: list[Ask], rng: np.random.Generator, vision: Vision) -> Actor:
    landmarks = model.sample.landmarks
    assert landmarks is not None
    picture = stand(model.portrait, landmarks, float(rng.uniform(30, 55)))
    if species == "photo":
        return HeldPhoto(picture, rng)
    (face,) = vision.detector.detect(Frame(picture, 0, 0))[:1]
    standing = vision.reader.read(Frame(picture, 0, 0), face).landmarks
    assert standing is not None
    head = Head(picture, standing)
    return Visitor(head, rng) if species == "genuine" else Recording(head, _unmatching(species, asks, rng), rng)


def _unmatching(species: str, asks: list[Ask], rng: np.random.Generator) -> tuple[Move, ...]:
    """Movements recorded at another challenge: other ones, the same in another order, or at other times."""
    if species == "replay-time":
        # Those that are asked, in order, but begun before they are, or too late to be done in time.
        begins = [rng.uniform(0.0, 0.4), rng.uniform(0.0, 0.4)] if rng.random() < 0.5 else [rng.uniform(5.6, 8), 0.5]
        return _moves(asks, begins, rng)
    if species == "replay-order":
        done = asks[::-1]
        if done == asks:
            done = [next(ask for ask in ASKS if ask != asks[0]), *asks[1:]]
    else:
        done = [_other(ask, rng) for ask in asks]
    return _moves(done, rng.uniform(1.0, 2.5, len(done)).tolist(), rng)


def _other(ask: Ask, rng: np.random.Generator) -> Ask:
    others = [other for other in ASKS if other != ask]
    return others[int(rng.integers(len(others)))]


def _moves(asks: list[Ask], rests_s: list[float], rng: np.random.Generator) -> tuple[Move, ...]:
    moves: list[Move] = []
    for ask, rest_s in zip(asks, rests_s, strict=True):
        moves.append(draw_move(ask, (moves[-1].end_s if moves else 0.0) + rest_s, rng))
    return tuple(moves)
