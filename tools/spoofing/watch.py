"""What the door's own liveness makes of a clip: detector, tracker, mesh and cues, as at the door."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edge.config import DetectorConfig, LivenessConfig, ModelsConfig, QualityConfig, TrackerConfig, VerdictConfig
from edge.errors import InputError
from edge.liveness.evidence import Evidence
from edge.liveness.liveness import Liveness
from edge.vision.reader import Vision, load_vision
from edge.vision.recorded import Clip
from edge.vision.tracker import Tracker

GENUINE = "genuine"
SIMULATED = "simulated-"  # species whose folder is called so were made by a script, not filmed
_CLIPS = frozenset({".avi", ".mp4", ".mpg", ".mpeg", ".mkv", ".mov", ".webm", ".gif"})


@dataclass(frozen=True, slots=True)
class Case:
    """One clip: `species` is "genuine" or the kind of attack, `subject` the person shown."""

    species: str
    subject: str
    path: Path


@dataclass(frozen=True, slots=True)
class Watched:
    """What was made of a clip.

    Attributes:
        case: which.
        trace: the evidence of the track that had most looks, after each look.
        read_ns, observe_ns: CPU time of this thread in samples without liveness, and in liveness.
    """

    case: Case
    trace: tuple[Evidence, ...]
    read_ns: int
    observe_ns: int

    def score_after(self, seconds: float, min_looks: int) -> float | None:
        """The score once it was watched for so long; None: it never was."""
        for evidence in self.trace:
            if evidence.watched_s >= seconds - 1e-6 and evidence.looks >= min_looks:
                return evidence.score
        return None


def read_cases(folder: Path) -> list[Case]:
    """The clips of DIR/genuine/ and DIR/<species>/, each in a folder of its subject, or a subject by itself.

    Raises:
        InputError: there are no genuine clips, or no attacks.
    """
    cases = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in _CLIPS and len(parts) in (2, 3):
            cases.append(Case(parts[0], parts[1] if len(parts) == 3 else path.stem, path))
    genuine = sum(case.species == GENUINE for case in cases)
    if not genuine or genuine == len(cases):
        raise InputError(f"{folder}: clips wanted in {GENUINE}/ and in a folder for each kind of attack beside it")
    return cases


def ready() -> Vision:
    """The models of a door that people come near to."""
    return load_vision(ModelsConfig(detector="near"), DetectorConfig(), QualityConfig())


def watch(case: Case, vision: Vision) -> Watched:
    """Run one clip through the eyes of a door that has liveness on.

    Raises:
        CameraError: the clip cannot be read.
    """
    tracker, liveness = Tracker(TrackerConfig()), Liveness(config=LivenessConfig())
    traces: dict[int, list[Evidence]] = {}
    sampled_ns: dict[int, int] = {}
    read_ns = observe_ns = 0
    every_ns = VerdictConfig().sample_every_s * 1e9
    with Clip(case.path) as clip:
        for frame in clip:
            started = time.thread_time_ns()
            tracks = tracker.update(vision.detector.detect(frame, tracker.faces), frame.t_ns)
            read_ns += time.thread_time_ns() - started
            for track in tracks:
                if track.lost or frame.t_ns - sampled_ns.get(track.id, -(10**12)) < every_ns - 1e6:
                    continue
                sampled_ns[track.id] = frame.t_ns
                started = time.thread_time_ns()
                sample = vision.reader.read(frame, track.face)
                between = time.thread_time_ns()
                liveness.observe(track, frame, sample, frame.t_ns)
                evidence = liveness.assess(track.id)
                read_ns, observe_ns = read_ns + between - started, observe_ns + time.thread_time_ns() - between
                traces.setdefault(track.id, []).append(evidence)
    trace = max(traces.values(), key=len, default=[])
    return Watched(case, tuple(trace), read_ns, observe_ns)
