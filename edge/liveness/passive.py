"""Liveness of each track: its looks in runs of a second or so, each run compared with its first look.

One run that shows life is enough; a picture is told by showing none for long, or by a sign of its own. What a run shows
is judged by one small rule, `edge.liveness.cues.weights.CUE_WEIGHTS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.config import LivenessConfig
from edge.core.records import Frame, Sample, Track
from edge.liveness.cues.planar import extract_patch
from edge.liveness.cues.weights import NO_EVIDENCE, LivenessEvidence, Values, attack_score, combine
from edge.liveness.window import ObservationWindow

WINDOW_S = 1.5  # a run ends after so long, and the next begins: over longer ones a photo moved far looks alive
MAX_TRACKS = 16  # remembered at once; beyond, the one longest unseen is forgotten
_MAX_MISSED_LOOKS = 3  # looks in a row that cannot be compared: it is the first look of the run that has slipped


@dataclass(slots=True)
class _TrackWindows:
    """A track: the run that goes on and the most that it showed; what the run before showed; since when, how often."""

    run: ObservationWindow
    first_ns: int
    looks: int = 1
    shown: Values | None = None
    before: Values | None = None
    now: LivenessEvidence = NO_EVIDENCE


class PassiveLiveness:
    """Collects evidence by track; not thread-safe. Time comes with the samples."""

    def __init__(self, *, config: LivenessConfig) -> None:
        self._config = config
        self._min_ns = min(config.min_watch_s, WINDOW_S - 0.2) * 1e9
        self._tracks: dict[int, _TrackWindows] = {}

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Take one look; call it for sampled frames only. A sample without landmarks tells nothing."""
        look = extract_patch(frame, sample.landmarks) if sample.landmarks is not None else None
        if look is None or sample.landmarks is None:
            return
        given = look, frame, sample, sample.landmarks, t_ns
        seen = self._tracks.pop(track.id, None)
        if seen is None:
            seen = _TrackWindows(ObservationWindow(*given), t_ns)
        elif t_ns - seen.run.first_ns > WINDOW_S * 1e9 or seen.run.misses >= _MAX_MISSED_LOOKS:
            seen.before, seen.shown = seen.shown, None
            seen.run = ObservationWindow(*given)
            seen.looks += 1
        elif seen.run.add(*given):
            seen.looks += 1
            values = seen.run.cue_values(self._min_ns)
            if values is not None:
                seen.shown = combine(values, seen.shown)
        seen.now = self._evidence(seen)
        self._tracks[track.id] = seen
        if len(self._tracks) > MAX_TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def evaluate(self, track_id: int) -> LivenessEvidence:
        """What is known of a track: of this run and the one before the most life, and the strongest signs of a picture.

        A track that was never seen, or is forgotten, has NOTHING.
        """
        seen = self._tracks.get(track_id)
        return NO_EVIDENCE if seen is None else seen.now

    def forget(self, track_id: int) -> None:
        """The track is over, or another face has taken its place."""
        self._tracks.pop(track_id, None)

    def clear(self) -> None:
        """Forget all tracks."""
        self._tracks.clear()

    def _evidence(self, seen: _TrackWindows) -> LivenessEvidence:
        watched_s = (seen.run.last_ns - seen.first_ns) / 1e9
        shown = seen.before if seen.shown is None else combine(seen.shown, seen.before)
        if shown is None:
            return LivenessEvidence(0.5, (), False, seen.looks, watched_s)
        score, cues = attack_score(shown)
        enough = score < self._config.attack_score or watched_s >= self._config.attack_after_s
        return LivenessEvidence(score, cues, enough, seen.looks, watched_s)
