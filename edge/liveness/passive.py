"""Passive liveness of each track: samples in runs of about a second, each compared with the first sample of its run.

One run with signs of life is enough. A picture is detected by their absence for a longer time, or by a sign of its own.
`edge.liveness.cues.weights.CUE_WEIGHTS` combines the cues of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.config import LivenessConfig
from edge.core.records import Frame, Sample, Track
from edge.liveness.cues.planar import extract_patch
from edge.liveness.cues.weights import NO_EVIDENCE, LivenessEvidence, Values, attack_score, combine
from edge.liveness.window import ObservationWindow

WINDOW_S = 1.5  # length of a run; over longer ones a photo that is moved far would seem alive
MAX_TRACKS = 16  # beyond this number the track that was not seen for the longest time is dropped
_MAX_MISSED_LOOKS = 3  # incomparable samples in a row, after which the reference of the run is considered wrong


@dataclass(slots=True)
class _TrackWindows:
    """A track: the present run with its best cue values so far, those of the previous run, beginning and samples."""

    run: ObservationWindow
    first_ns: int
    looks: int = 1
    shown: Values | None = None
    before: Values | None = None
    now: LivenessEvidence = NO_EVIDENCE


class PassiveLiveness:
    """Collects evidence by track; not thread-safe. The time comes with the samples."""

    def __init__(self, *, config: LivenessConfig) -> None:
        self._config = config
        self._min_ns = min(config.min_watch_s, WINDOW_S - 0.2) * 1e9
        self._tracks: dict[int, _TrackWindows] = {}

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Process one sample; one without landmarks is ignored."""
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
        """Evidence of a track: the strongest signs of life and of a picture in this run and the previous one.

        A track that was never seen, or was dropped, has NO_EVIDENCE.
        """
        seen = self._tracks.get(track_id)
        return NO_EVIDENCE if seen is None else seen.now

    def forget(self, track_id: int) -> None:
        """Drop a track that has ended or now shows another face."""
        self._tracks.pop(track_id, None)

    def clear(self) -> None:
        """Drop all tracks."""
        self._tracks.clear()

    def _evidence(self, seen: _TrackWindows) -> LivenessEvidence:
        watched_s = (seen.run.last_ns - seen.first_ns) / 1e9
        shown = seen.before if seen.shown is None else combine(seen.shown, seen.before)
        if shown is None:
            return LivenessEvidence(0.5, (), False, seen.looks, watched_s)
        score, cues = attack_score(shown)
        enough = score < self._config.attack_score or watched_s >= self._config.attack_after_s
        return LivenessEvidence(score, cues, enough, seen.looks, watched_s)
