"""What the door's own liveness makes of a clip: detector, tracker, mesh and cues, as at the door."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from edge.core.config import (
    DetectorConfig,
    LivenessConfig,
    ModelsConfig,
    QualityConfig,
    RecognitionConfig,
    TrackerConfig,
)
from edge.core.errors import InputError
from edge.core.records import Frame, Sample, Track
from edge.liveness.evidence import LivenessEvidence
from edge.liveness.passive import WINDOW_S, PassiveLiveness
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages, load_vision
from edge.vision.tracker import Tracker

GENUINE = "genuine"
SIMULATED = "simulated-"  # species whose folder is called so were made by a script, not filmed
WINDOW_EVERY_S = 0.5
_CLIPS = frozenset({".avi", ".mp4", ".mpg", ".mpeg", ".mkv", ".mov", ".webm", ".gif"})


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """One clip: `species` is "genuine" or the kind of attack, `subject` the person shown."""

    species: str
    subject: str
    path: Path


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What was made of a clip.

    Attributes:
        case: which.
        trace: the evidence of the track that had most looks, after each look.
        windows: the evidence of that track by runs that begin half a second apart, each as if nothing had been before.
        read_ns, observe_ns: CPU time of this thread in sampled frames without liveness, and in liveness.
    """

    clip: LabelledClip
    trace: tuple[LivenessEvidence, ...]
    windows: tuple[LivenessEvidence, ...]
    read_ns: int
    observe_ns: int

    @property
    def first_decision(self) -> float | None:
        """The score that settles it, life shown or none for long; None: the clip was over before."""
        return next((evidence.score for evidence in self.trace if evidence.enough), None)

    @property
    def final(self) -> float | None:
        """The score when the clip was over; None: there never was one."""
        return self.trace[-1].score if self.trace and self.trace[-1].cues else None


def find_clips(folder: Path) -> list[LabelledClip]:
    """Clips of DIR/genuine/ and DIR/<species>/, each in a folder of its subject, or a subject by itself.

    Raises:
        InputError: no such folder, or no genuine clip in it, or no attack.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    cases = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in _CLIPS and len(parts) in (2, 3):
            cases.append(LabelledClip(parts[0], parts[1] if len(parts) == 3 else path.stem, path))
    genuine = sum(case.species == GENUINE for case in cases)
    if not genuine or genuine == len(cases):
        raise InputError(f"{folder}: put clips into {GENUINE}/ and into a folder for each kind of attack beside it")
    return cases


def ready() -> VisionStages:
    """The models of a door that people come near to."""
    return load_vision(ModelsConfig(detector="near"), DetectorConfig(), QualityConfig())


@dataclass(slots=True)
class _Followed:
    """One track: what is known after each look, and the windows of it that go on."""

    traced: list[LivenessEvidence] = field(default_factory=list)
    windows: list[tuple[int, PassiveLiveness]] = field(default_factory=list)
    sampled_ns: int = 0

    def observe(self, track: Track, frame: Frame, sample: Sample, config: LivenessConfig) -> None:
        if not self.windows or frame.captured_ns - self.windows[-1][0] >= WINDOW_EVERY_S * 1e9:
            self.windows.append((frame.captured_ns, PassiveLiveness(config=config)))
        for since_ns, liveness in self.windows:
            if frame.captured_ns - since_ns <= WINDOW_S * 1e9:
                liveness.observe(track, frame, sample, frame.captured_ns)

    def judged(self, track_id: int) -> tuple[LivenessEvidence, ...]:
        known = [liveness.evaluate(track_id) for _, liveness in self.windows]
        return tuple(evidence for evidence in known if evidence.cues)


def evaluate_clip(case: LabelledClip, vision: VisionStages, limit: float) -> ClipResult:
    """Run one clip through detector, tracker, mesh and liveness, as a door with liveness on.

    Raises:
        CameraError: the clip cannot be read.
    """
    config = LivenessConfig(attack_score=limit)
    tracker, liveness = Tracker(TrackerConfig()), PassiveLiveness(config=config)
    followed: dict[int, _Followed] = {}
    read_ns = observe_ns = 0
    every_ns = RecognitionConfig().sample_every_s * 1e9 - 1e6
    with VideoFileCamera(case.path) as clip:
        for frame in clip:
            started = time.thread_time_ns()
            tracks = tracker.update(vision.detector.detect(frame, tracker.faces), frame.captured_ns)
            found_ns = time.thread_time_ns() - started
            for track in tracks:
                mine = followed.setdefault(track.id, _Followed())
                if track.lost or (mine.traced and frame.captured_ns - mine.sampled_ns < every_ns):
                    continue
                mine.sampled_ns = frame.captured_ns
                started = time.thread_time_ns()
                sample = vision.reader.sample(frame, track.face)
                between = time.thread_time_ns()
                liveness.observe(track, frame, sample, frame.captured_ns)
                mine.traced.append(liveness.evaluate(track.id))
                observe_ns += time.thread_time_ns() - between
                read_ns, found_ns = read_ns + found_ns + between - started, 0
                mine.observe(track, frame, sample, config)
    if not followed:
        return ClipResult(case, (), (), read_ns, observe_ns)
    track_id, most = max(followed.items(), key=lambda item: len(item[1].traced))
    return ClipResult(case, tuple(most.traced), most.judged(track_id), read_ns, observe_ns)
