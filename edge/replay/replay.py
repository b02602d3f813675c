"""Runs a recorded clip through the same loop as the daemon. Nothing is sent, and every run gives the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from tqdm import tqdm

from edge.access.policy_file import load_configured_rules
from edge.core.config import DoorConfig
from edge.core.errors import CameraError
from edge.core.records import AccessOutcome, Decision, Frame
from edge.liveness.prompts import ChallengePrompt
from edge.pipeline import Pipeline
from edge.recognition.encryption import read_key
from edge.recognition.gallery import empty_gallery
from edge.recognition.gallery_file import load_gallery
from edge.vision.camera import open_camera
from edge.vision.face_sampler import load_vision


@dataclass(frozen=True, slots=True, eq=False)
class ReplayStep:
    """State of a door after one frame."""

    frame: Frame  # valid until the next one
    pipeline: Pipeline  # its state after the frame
    decisions: list[Decision]  # of this frame, as are the prompts
    prompts: list[ChallengePrompt]


class ReplayObserver(Protocol):
    """Receives the state of the door after every frame."""

    def on_step(self, step: ReplayStep) -> None: ...


class ReplayPerson(msgspec.Struct, frozen=True):
    """The person of an event."""

    id: str
    name: str = ""


class ReplayEvent(msgspec.Struct, frozen=True):
    """One decision of a replay, as printed and as expected; `t` is seconds into the clip, distances as in records."""

    kind: str
    person: ReplayPerson | None
    t: float
    distance_sq: float = 0.0
    threshold_sq: float = 0.0
    runner_up_sq: float = 0.0
    samples: int = 0
    quality: float = 0.0
    reason: str = ""
    rule: str = ""
    track: int = 0
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def replay(
    config: DoorConfig,
    clip: Path,
    gallery: Path | None,
    observers: Sequence[ReplayObserver] = (),
    at_ns: int | None = None,
) -> Iterator[ReplayEvent]:
    """Yield the decisions of a clip, or of a folder of stills.

    Args:
        config: door configuration; its camera source is replaced by the clip.
        clip: video file or folder of stills.
        gallery: gallery file; None: nobody is enrolled.
        observers: called after every frame.
        at_ns: beginning of the clip for access rules, nanoseconds since 1970 UTC; None: the clock is not set.

    Raises:
        CameraError, ConfigError, GalleryError, ModelError: the clip, the policy, the gallery or a model cannot be used.
    """
    if not clip.exists():
        raise CameraError(f"{clip}: no such file")
    vision = load_vision(config.models, config.detector, config.quality)
    rules = load_configured_rules(config.access)
    embedder = vision.reader.embedder
    known = (
        load_gallery(gallery, embedder.sha256, read_key(config.gallery_key), dimension=embedder.dimension)
        if gallery
        else empty_gallery(embedder.dimension, embedder.sha256)
    )
    random_number = random.Random(0).random  # equal at every run; no clip can follow a challenge anyway
    pipeline = Pipeline(config, vision, known, rules=rules, random_number=random_number)
    t_ns = 0
    with open_camera(msgspec.structs.replace(config.camera, source=str(clip))) as camera:
        bar = tqdm(camera, desc="replay", unit=" frames", disable=None, leave=False)
        for frame in bar:
            t_ns = frame.captured_ns
            decisions = pipeline.step(frame, at_ns)
            step = ReplayStep(frame, pipeline, decisions, pipeline.drain_prompts())
            if decisions or step.prompts:
                bar.clear()  # lines about decisions and prompts must not begin behind the bar
            for observer in observers:
                observer.on_step(step)
            yield from map(_to_event, decisions)
        yield from map(_to_event, pipeline.flush(t_ns, at_ns))


def _to_event(decision: Decision) -> ReplayEvent:
    """Convert a decision; an unknown visitor has no person, even if one is near."""
    verdict = decision.verdict
    person = verdict.match.person if decision.kind is not AccessOutcome.UNKNOWN else None
    box = verdict.track.face.box
    return ReplayEvent(
        kind=str(decision.kind),
        person=ReplayPerson(person.id, person.name) if person else None,
        t=round(decision.t_ns / 1e9, 3),
        distance_sq=round(verdict.match.distance_sq, 4),
        threshold_sq=round(verdict.match.threshold_sq, 4),
        runner_up_sq=round(verdict.match.runner_up_sq, 4),
        samples=verdict.samples,
        quality=round(verdict.quality, 3),
        reason=decision.reason or verdict.reason,
        rule=decision.rule,
        track=verdict.track.id,
        box=(round(box.left, 1), round(box.top, 1), round(box.right, 1), round(box.bottom, 1)),
    )
