"""Liveness of each track: its looks in runs of a second or so, each run compared with its first look."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edge.config import LivenessConfig
from edge.liveness.evidence import NOTHING, Cue, Evidence
from edge.liveness.planar import Reference, deformation, flat_residual, patch
from edge.records import Floats, Frame, Sample, Track

RUN_S = 1.5  # a run ends after so long, and the next begins: over longer ones a photo moved far looks alive
MIN_LOOKS = 6  # in a run, for it to mean anything
MAX_TRACKS = 16  # remembered at once; beyond, the one longest unseen is forgotten
# A logistic curve over ln(deformation): the slope as fitted to 119 windows of a second of seven genuine clips and 133
# simulated flat photos; 0.5 is where the stillest of the genuine windows was, so that none of them is an attack.
STEEPNESS = 4.4
MIDDLE = 0.040


@dataclass(slots=True)
class _Run:
    reference: Reference
    first_ns: int
    last_ns: int
    residuals: list[Floats] = field(default_factory=lambda: [flat_residual()])


@dataclass(slots=True)
class _Seen:
    run: _Run
    last: Evidence = NOTHING


class Liveness:
    """Collects evidence by track; not thread-safe. Time comes with the samples."""

    def __init__(self, *, config: LivenessConfig) -> None:
        self._config = config
        self._tracks: dict[int, _Seen] = {}

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Take one look; call it for sampled frames only. A sample without landmarks tells nothing."""
        look = patch(frame, sample.landmarks) if sample.landmarks is not None else None
        if look is None:
            return
        seen = self._tracks.pop(track.id, None)
        if seen is None:
            seen = _Seen(_Run(Reference(look), t_ns, t_ns))
        elif t_ns - seen.run.first_ns > RUN_S * 1e9:
            finished = self._weigh(seen.run)
            seen = _Seen(_Run(Reference(look), t_ns, t_ns), finished if finished.enough else seen.last)
        else:
            residual = seen.run.reference.residual(look)
            if residual is not None:
                seen.run.residuals.append(residual)
                seen.run.last_ns = t_ns
        self._tracks[track.id] = seen
        if len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def assess(self, track_id: int) -> Evidence:
        """What is known of a track: its current run, or, until that is long enough, the one before.

        A track that was never seen, or is forgotten, has NOTHING.
        """
        seen = self._tracks.get(track_id)
        if seen is None:
            return NOTHING
        now = self._weigh(seen.run)
        return now if now.enough or not seen.last.enough else seen.last

    def forget(self, track_id: int) -> None:
        """The track is over, or another face has taken its place."""
        self._tracks.pop(track_id, None)

    def _weigh(self, run: _Run) -> Evidence:
        looks, watched_s = len(run.residuals), (run.last_ns - run.first_ns) / 1e9
        enough = looks >= MIN_LOOKS and watched_s >= min(self._config.min_s, RUN_S - 0.2)
        if looks < MIN_LOOKS:
            return Evidence(0.5, (), enough, looks, watched_s)
        moved = deformation(run.residuals, run.reference.gradient)
        score = attack_score(moved)
        cue = Cue("deformation", moved, score, STEEPNESS, "what no flat picture does, 1/20 of the eyes' distance")
        return Evidence(score, (cue,), enough, looks, watched_s)


def attack_score(moved: float) -> float:
    """0 (genuine) to 1 (attack) of a deformation: the less a face deforms, the likelier it is flat."""
    return 1 / (1 + math.exp(min(STEEPNESS * math.log(max(moved, 1e-6) / MIDDLE), 700.0)))
