"""Liveness of each track: its looks in runs of a second or so, each run compared with its first look.

One run that shows life is enough; a picture is told by showing none for long. What a run shows is judged by two
measurements in one small rule, WEIGHTS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from edge.config import LivenessConfig
from edge.liveness.evidence import NOTHING, Cue, Evidence
from edge.liveness.planar import Reference, Residual, local_motion, patch
from edge.records import Frame, Sample, Track

RUN_S = 1.5  # a run ends after so long, and the next begins: over longer ones a photo moved far looks alive
MIN_LOOKS = 6  # in a run, the first included, for it to mean anything
MAX_TRACKS = 16  # remembered at once; beyond, the one longest unseen is forgotten
_SCALE = 1.15  # largest quotient of eye distances of two looks that are compared; more is a mesh that has slipped
_STRANGE = 0.15  # unexplained share from which on a look was not registered; heads that turn reach 0.08
_MISSES = 3  # looks in a row that cannot be compared: it is the first look of the run that has slipped
_SLIPPED = 0.25  # of those compared, so many that cannot be: the mesh is not to be trusted
# Score = 1 / (1 + exp(-(sum of weight * ln(value / middle)))). Fitted as docs/liveness.md tells.
WEIGHTS = {"local-motion": (-1.70, 0.126), "unexplained": (-2.57, 0.0024)}
_LEAST = {"local-motion": 0.02, "unexplained": 1e-4}  # what is smaller counts as this
_WHY = {
    "local-motion": "of the liveliest place against the rest of the face, 1/20 of the eyes' distance",
    "unexplained": "share of the contrast that no flat picture explains, median look",
}


@dataclass(slots=True)
class _Run:
    """Looks compared with one reference.

    Attributes:
        size_px: between the eyes of the reference.
        misses: looks in a row that could not be compared.
        shown: its score and cues when it showed most life; None while it is too short.
    """

    reference: Reference
    size_px: float
    first_ns: int
    last_ns: int
    residuals: list[Residual] = field(default_factory=list)
    missed: int = 0
    misses: int = 0
    shown: Evidence | None = None


@dataclass(slots=True)
class _Seen:
    """A track: the run before, for what it showed; the one that goes on; since when and how often it was looked at."""

    run: _Run
    first_ns: int
    looks: int = 1
    before: Evidence | None = None
    now: Evidence = NOTHING


class Liveness:
    """Collects evidence by track; not thread-safe. Time comes with the samples."""

    def __init__(self, *, config: LivenessConfig) -> None:
        self._config = config
        self._min_ns = min(config.min_s, RUN_S - 0.2) * 1e9
        self._tracks: dict[int, _Seen] = {}

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Take one look; call it for sampled frames only. A sample without landmarks tells nothing."""
        look = patch(frame, sample.landmarks) if sample.landmarks is not None else None
        if look is None:
            return
        size_px = sample.quality.size_px
        seen = self._tracks.pop(track.id, None)
        if seen is None:
            seen = _Seen(_Run(Reference(look), size_px, t_ns, t_ns), t_ns)
        elif t_ns - seen.run.first_ns > RUN_S * 1e9 or seen.run.misses >= _MISSES:
            seen.before = seen.run.shown
            seen.run = _Run(Reference(look), size_px, t_ns, t_ns)
            seen.looks += 1
        else:
            alike = 1 / _SCALE < size_px / max(seen.run.size_px, 1e-6) < _SCALE
            residual = seen.run.reference.residual(look) if alike else None
            if residual is None or residual.unexplained > _STRANGE:
                seen.run.missed += 1
                seen.run.misses += 1
            else:
                seen.run.residuals.append(residual)
                seen.run.last_ns, seen.run.misses = t_ns, 0
                seen.looks += 1
                self._weigh(seen.run)
        seen.now = self._judge(seen)
        self._tracks[track.id] = seen
        if len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def assess(self, track_id: int) -> Evidence:
        """What is known of a track: the most life that it showed in its current run or the one before.

        A track that was never seen, or is forgotten, has NOTHING.
        """
        seen = self._tracks.get(track_id)
        return NOTHING if seen is None else seen.now

    def forget(self, track_id: int) -> None:
        """The track is over, or another face has taken its place."""
        self._tracks.pop(track_id, None)

    def _weigh(self, run: _Run) -> None:
        """Measure a run that is long enough; keep it if it never showed more life."""
        compared = len(run.residuals)
        if run.last_ns - run.first_ns < self._min_ns or compared + 1 < MIN_LOOKS or run.missed > compared * _SLIPPED:
            return
        values = {
            "local-motion": local_motion(run.residuals, run.reference.gradient),
            "unexplained": float(np.median([each.unexplained for each in run.residuals])),
        }
        score, cues = fuse(values)
        if run.shown is None or score < run.shown.score:
            run.shown = Evidence(score, cues, True, compared + 1, (run.last_ns - run.first_ns) / 1e9)

    def _judge(self, seen: _Seen) -> Evidence:
        watched_s = (seen.run.last_ns - seen.first_ns) / 1e9
        weighed = [shown for shown in (seen.before, seen.run.shown) if shown is not None]
        if not weighed:
            return Evidence(0.5, (), False, seen.looks, watched_s)
        best = min(weighed, key=lambda shown: shown.score)
        enough = best.score < self._config.attack_score or watched_s >= self._config.flat_s
        return replace(best, enough=enough, looks=seen.looks, watched_s=watched_s)


def fuse(values: dict[str, float]) -> tuple[float, tuple[Cue, ...]]:
    """The score of measurements, 0 (genuine) to 1 (attack), and each as a cue with what it says by itself."""
    total, cues = 0.0, []
    for name, (weight, middle) in WEIGHTS.items():
        part = weight * math.log(max(values[name], _LEAST[name]) / middle)
        cues.append(Cue(name, values[name], _logistic(part), weight, _WHY[name]))
        total += part
    return _logistic(total), tuple(cues)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -700.0), 700.0)))
