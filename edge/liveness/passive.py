"""Liveness of each track: its looks in runs of a second or so, each run compared with its first look.

One run that shows life is enough; a picture is told by showing none for long, or by a sign of its own. What a run shows
is judged by one small rule, `edge.liveness.cues.TABLE`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.config import LivenessConfig
from edge.core.records import Frame, Sample, Track
from edge.liveness.cues import Values, fuse, merge
from edge.liveness.evidence import NOTHING, Evidence
from edge.liveness.planar import patch
from edge.liveness.window import Run

RUN_S = 1.5  # a run ends after so long, and the next begins: over longer ones a photo moved far looks alive
MAX_TRACKS = 16  # remembered at once; beyond, the one longest unseen is forgotten
_MISSES = 3  # looks in a row that cannot be compared: it is the first look of the run that has slipped


@dataclass(slots=True)
class _Seen:
    """A track: the run that goes on and the most that it showed; what the run before showed; since when, how often."""

    run: Run
    first_ns: int
    looks: int = 1
    shown: Values | None = None
    before: Values | None = None
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
        if look is None or sample.landmarks is None:
            return
        given = look, frame, sample, sample.landmarks, t_ns
        seen = self._tracks.pop(track.id, None)
        if seen is None:
            seen = _Seen(Run(*given), t_ns)
        elif t_ns - seen.run.first_ns > RUN_S * 1e9 or seen.run.misses >= _MISSES:
            seen.before, seen.shown = seen.shown, None
            seen.run = Run(*given)
            seen.looks += 1
        elif seen.run.compare(*given):
            seen.looks += 1
            values = seen.run.measure(self._min_ns)
            if values is not None:
                seen.shown = merge(values, seen.shown)
        seen.now = self._judge(seen)
        self._tracks[track.id] = seen
        if len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def assess(self, track_id: int) -> Evidence:
        """What is known of a track: of this run and the one before the most life, and the strongest signs of a picture.

        A track that was never seen, or is forgotten, has NOTHING.
        """
        seen = self._tracks.get(track_id)
        return NOTHING if seen is None else seen.now

    def forget(self, track_id: int) -> None:
        """The track is over, or another face has taken its place."""
        self._tracks.pop(track_id, None)

    def _judge(self, seen: _Seen) -> Evidence:
        watched_s = (seen.run.last_ns - seen.first_ns) / 1e9
        shown = seen.before if seen.shown is None else merge(seen.shown, seen.before)
        if shown is None:
            return Evidence(0.5, (), False, seen.looks, watched_s)
        score, cues = fuse(shown)
        enough = score < self._config.attack_score or watched_s >= self._config.flat_s
        return Evidence(score, cues, enough, seen.looks, watched_s)
