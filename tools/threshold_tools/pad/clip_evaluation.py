"""Runs the passive liveness detection of a door on clips: detector, tracker, mesh and cues."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from edge.core.config import LivenessConfig, RecognitionConfig, TrackerConfig
from edge.core.errors import InputError
from edge.core.records import Frame, Sample, Track
from edge.liveness.cues.weights import LivenessEvidence
from edge.liveness.passive import WINDOW_S, PassiveLiveness
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages
from edge.vision.tracker import Tracker

GENUINE = "genuine"
SIMULATED = "simulated-"  # prefix of species that a script rendered
WINDOW_EVERY_S = 0.5
CLIP_SUFFIXES = frozenset({".avi", ".mp4", ".mpg", ".mpeg", ".mkv", ".mov", ".webm", ".gif"})


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """A clip with its species and person."""

    species: str  # "genuine" or the kind of attack
    subject: str  # person on the clip
    path: Path


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Liveness of one clip."""

    clip: LabelledClip
    trace: tuple[LivenessEvidence, ...]  # evidence after each sample of the longest track
    windows: tuple[LivenessEvidence, ...]  # evidence of separate windows of that track, one begun each half second
    read_ns: int  # CPU time of this thread in sampled frames without liveness
    observe_ns: int  # CPU time in liveness

    @property
    def first_decision(self) -> float | None:
        """Score at the decision of the door; None: the clip ended earlier."""
        return next((evidence.score for evidence in self.trace if evidence.enough), None)

    @property
    def final(self) -> float | None:
        """Score of the whole clip; None without a score."""
        return self.trace[-1].score if self.trace and self.trace[-1].cues else None


def find_clips(folder: Path) -> list[LabelledClip]:
    """Clips in genuine/ and in the folders of species; a clip outside a person's folder is of a person of its own.

    Raises:
        InputError: no such folder, or it contains no genuine clip or no attack.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    clips = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in CLIP_SUFFIXES and len(parts) in (2, 3):
            clips.append(LabelledClip(parts[0], parts[1] if len(parts) == 3 else path.stem, path))
    genuine = sum(clip.species == GENUINE for clip in clips)
    if not genuine or genuine == len(clips):
        raise InputError(f"{folder}: needs clips in {GENUINE}/ and in one more folder for each kind of attack")
    return clips


@dataclass(slots=True)
class _TrackTrace:
    """Evidence of one track after each sample, and its windows with their start times."""

    evidence: list[LivenessEvidence] = field(default_factory=list)
    windows: list[tuple[int, PassiveLiveness]] = field(default_factory=list)
    sampled_ns: int = 0

    def observe(self, track: Track, frame: Frame, sample: Sample, config: LivenessConfig) -> None:
        if not self.windows or frame.captured_ns - self.windows[-1][0] >= WINDOW_EVERY_S * 1e9:
            self.windows.append((frame.captured_ns, PassiveLiveness(config=config)))
        for since_ns, liveness in self.windows:
            if frame.captured_ns - since_ns <= WINDOW_S * 1e9:
                liveness.observe(track, frame, sample, frame.captured_ns)


def evaluate_clip(clip: LabelledClip, vision: VisionStages, limit: float) -> ClipResult:
    """Run one clip through detector, tracker, mesh and liveness; scores at or above `limit` are attacks.

    Raises:
        CameraError: the clip cannot be read.
    """
    config = LivenessConfig(attack_score=limit)
    tracker, liveness = Tracker(TrackerConfig()), PassiveLiveness(config=config)
    traces: dict[int, _TrackTrace] = {}
    read_ns = observe_ns = 0
    every_ns = RecognitionConfig().sample_every_s * 1e9 - 1e6
    with VideoFileCamera(clip.path) as camera:
        for frame in camera:
            started = time.thread_time_ns()
            tracks = tracker.update(vision.detector.detect(frame, tracker.faces), frame.captured_ns)
            found_ns = time.thread_time_ns() - started
            for track in tracks:
                trace = traces.setdefault(track.id, _TrackTrace())
                if track.lost or (trace.evidence and frame.captured_ns - trace.sampled_ns < every_ns):
                    continue
                trace.sampled_ns = frame.captured_ns
                started = time.thread_time_ns()
                sample = vision.reader.sample(frame, track.face)
                between = time.thread_time_ns()
                liveness.observe(track, frame, sample, frame.captured_ns)
                trace.evidence.append(liveness.evaluate(track.id))
                observe_ns += time.thread_time_ns() - between
                read_ns, found_ns = read_ns + found_ns + between - started, 0
                trace.observe(track, frame, sample, config)
    if not traces:
        return ClipResult(clip, (), (), read_ns, observe_ns)
    track_id, longest = max(traces.items(), key=lambda item: len(item[1].evidence))
    windows = (window.evaluate(track_id) for _, window in longest.windows)
    measured = tuple(evidence for evidence in windows if evidence.cues)
    return ClipResult(clip, tuple(longest.evidence), measured, read_ns, observe_ns)
