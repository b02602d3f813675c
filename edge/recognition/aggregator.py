"""Aggregates the samples of each track into a verdict: recognised, unknown, or undecided so far.

The fused embedding of a track is the quality-weighted mean of its samples. A person is recognised if `min_samples`
samples agree on them, the distance of the fused embedding is within their threshold, and the runner-up is clearly
farther. `unknown` requires `unknown_samples`, or at least `min_samples` from a visitor who has left.

A sample of another face than the earlier ones of the track is kept apart as doubt. After two such samples in a row of
one face, the track has switched to another person: its evidence and verdict are dropped, and the doubt becomes the new
evidence.

A visitor who stays unknown is judged again after every further `unknown_samples`. A visitor who fails repeatedly is
paused and then needs more samples and a stricter threshold: see `edge.recognition.lockout`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from edge.core.config import LockoutConfig, RecognitionConfig
from edge.core.reasons import Reason, UndecidedReason
from edge.core.records import FloatArray, Identification, Match, Sample, Track, Verdict
from edge.recognition.cooldown import Cooldown
from edge.recognition.fusion import Fusion
from edge.recognition.gallery import MAX_DISTANCE_SQ, Gallery
from edge.recognition.lockout import Lockout, Restriction

_MISMATCHES_TO_RESET = 2
_LOCKOUT = LockoutConfig()


@dataclass(slots=True)
class _TrackState:
    """Evidence and verdict of one track."""

    evidence: Fusion = field(default_factory=Fusion)
    doubt: Fusion = field(default_factory=Fusion)
    verdict: Verdict | None = None
    reported: bool = False  # the verdict was reported and not withdrawn since
    looked_ns: int | None = None
    paused: bool = False  # paused after repeated failures

    def shows(self, verdict: Verdict) -> bool:
        """Whether this track has the finding and the person of a verdict."""
        own = self.verdict
        return own is not None and own.finding is verdict.finding and own.match.person == verdict.match.person


@dataclass(frozen=True, slots=True)
class TrackProgress:
    """Evidence of a track so far; `match` is None before the first sample."""

    samples: int
    match: Match | None
    verdict: Verdict | None


class IdentityAggregator:
    """Collects the samples of every track and decides on verdicts; pure, the time is an argument."""

    def __init__(
        self, gallery: Gallery, config: RecognitionConfig, lockout: LockoutConfig = _LOCKOUT, *, proven: bool = True
    ) -> None:
        self.gallery = gallery
        # If False, a recognised face counts as a success only after `count_success`: a photo is recognised, too.
        self.counts_names_as_success = proven
        self.refusals: Counter[str] = Counter()  # refused samples by reason
        self._config = config
        self._strict = _lockout_limits(config, lockout)
        self._lockout_config = lockout
        self._lockout = Lockout(lockout, config.same_stranger_sq)
        self._states: dict[int, _TrackState] = {}
        self._cooldown = Cooldown(config)

    def replace_gallery(self, gallery: Gallery, config: RecognitionConfig) -> None:
        """Use another gallery and configuration from now on.

        The evidence of every track is dropped and collected again within about 0.3 s, so that no measurement against
        the old gallery can open the door. Cooldowns and failures are kept. Those of strangers are dropped if the
        embedder changes, because vectors of two embedders cannot be compared.
        """
        if gallery.info.embedder_sha256 != self.gallery.info.embedder_sha256:
            self._lockout = Lockout(self._lockout_config, config.same_stranger_sq)
            self._cooldown.forget_strangers()
        self.gallery = gallery
        self._config = config
        self._strict = _lockout_limits(config, self._lockout_config)
        self._states.clear()

    def count_success(self, verdict: Verdict, others: Set[int]) -> None:
        """Count a recognised visitor who has shown liveness; `others`: ids of the other tracks present."""
        self._lockout.record_success(verdict, others)

    def count_failure(self, verdict: Verdict, others: Set[int]) -> None:
        """Count a presentation attack with the face of this verdict's person, and `discredit` the verdict."""
        self._lockout.record_failure(verdict, others)
        self.discredit(verdict)

    def discredit(self, verdict: Verdict) -> None:
        """Withdraw a recognition without liveness, so that it does not keep out the real person.

        The verdict stays on its own track, but its cooldown ends, and other tracks whose verdict was not reported
        because of that cooldown are judged again.
        """
        for track_id, state in list(self._states.items()):
            if state.shows(verdict):
                if track_id == verdict.track.id:
                    state.reported = False
                elif not state.reported:
                    del self._states[track_id]
        self._cooldown.forget(verdict)

    def impersonated(self, verdict: Verdict) -> bool:
        """Whether the person of this verdict was attacked repeatedly, so that liveness is required twice."""
        person = verdict.match.person
        return person is not None and self._lockout.impersonated(person.id, verdict.decided_ns)

    def verdict_of(self, track: Track) -> Verdict | None:
        """Present verdict of a track, or None."""
        state = self._states.get(track.id)
        return None if state is None else state.verdict

    def is_contested(self, track: Track) -> bool:
        """Whether the last usable sample shows another face than the earlier ones."""
        state = self._states.get(track.id)
        return state is not None and state.doubt.samples > 0

    def reset(self, verdict: Verdict) -> None:
        """Withdraw a verdict and drop the evidence of its track, so that the person is reported again.

        Other tracks with the same person are judged again, too, unless their own verdict was reported.
        """
        self.discredit(verdict)
        state = self._states.get(verdict.track.id)
        if state is not None and state.shows(verdict):
            del self._states[verdict.track.id]

    def tracks_due(self, tracks: Sequence[Track], t_ns: int) -> list[Track]:
        """Tracks whose next sample is due: frequently while undecided or in doubt, rarely after the verdict."""
        return [track for track in tracks if not track.lost and self._due(self._state(track), t_ns)]

    def add_sample(self, track: Track, sample: Sample, t_ns: int) -> None:
        """Add one sample to the evidence of a track, or count its refusal."""
        state = self._state(track)
        state.looked_ns = t_ns
        if sample.embedding is None:
            self.refusals[sample.quality.refusal] += 1
            return
        match = self._match(sample.embedding)
        if self._is_consistent(state, sample.embedding, match):
            state.evidence.add(sample.embedding, sample.quality, match, self._config.vote_slack_sq)
            if state.doubt.samples:
                state.doubt = Fusion()
            return
        if state.doubt.samples and not self._one_face(state.doubt, sample.embedding):
            state.doubt = Fusion()
        state.doubt.add(sample.embedding, sample.quality, match, self._config.vote_slack_sq)
        if state.doubt.samples >= _MISMATCHES_TO_RESET:
            self._states[track.id] = _TrackState(evidence=state.doubt, looked_ns=t_ns)

    def take_verdicts(self, tracks: Sequence[Track], t_ns: int) -> list[Verdict]:
        """Decide now, and return the verdicts to report: one per track, unless its identity changes."""
        verdicts = []
        present = {track.id for track in tracks if not track.lost}
        for track in tracks:
            state = self._state(track)
            if state.verdict is None or self._unknown_again_due(state, state.verdict):
                others = present - {track.id}
                verdict = self._evaluate(track, state.evidence, others, t_ns)
                state.paused = verdict.reason is UndecidedReason.PAUSED
                if state.paused:  # a visitor who stays is not reported again after the pause
                    self._cooldown.mark_seen(replace(verdict, finding=Identification.UNKNOWN), t_ns)
                if verdict.finding is not Identification.UNDECIDED:
                    news = self._announce(verdict, state.verdict, others)
                    state.verdict, state.reported = verdict, bool(news)
                    verdicts += news
            if state.verdict is not None and self._counts_as_seen(state, state.verdict):
                self._cooldown.mark_seen(state.verdict, t_ns)
            if track.lost:
                del self._states[track.id]
        return verdicts

    def sample_count(self, track: Track) -> int:
        """Number of samples in the evidence of a track."""
        return self._state(track).evidence.samples

    def snapshot(self, track: Track) -> TrackProgress:
        """Evidence of a track so far."""
        state = self._states.get(track.id, _TrackState())
        match = self._match(state.evidence.fused) if state.evidence.samples else None
        return TrackProgress(state.evidence.samples, match, state.verdict)

    def _state(self, track: Track) -> _TrackState:
        return self._states.setdefault(track.id, _TrackState())

    def _due(self, state: _TrackState, t_ns: int) -> bool:
        if state.looked_ns is None:
            return True
        settled = (state.verdict is not None or state.paused) and not state.doubt.samples
        pause_s = self._config.recheck_every_s if settled else self._config.sample_every_s
        return t_ns - state.looked_ns >= pause_s * 1e9

    def _unknown_again_due(self, state: _TrackState, last: Verdict) -> bool:
        """Whether an unknown visitor has given another `unknown_samples` samples since the last verdict."""
        more = state.evidence.samples - last.samples
        return last.finding is Identification.UNKNOWN and more >= self._config.unknown_samples

    def _counts_as_seen(self, state: _TrackState, verdict: Verdict) -> bool:
        """Whether this track extends the cooldown of its visitor; a recognition that may be of a photo does not."""
        return self.counts_names_as_success or state.reported or verdict.finding is Identification.UNKNOWN

    def _announce(self, verdict: Verdict, last: Verdict | None, others: Set[int]) -> list[Verdict]:
        """The verdict if it is to be reported; failures and successes are counted in any case."""
        news = (last is None or last.finding is not verdict.finding) and self._cooldown.should_announce(
            verdict, verdict.decided_ns
        )
        if verdict.finding is Identification.RECOGNISED:
            if self.counts_names_as_success:
                self._lockout.record_success(verdict, others)
        elif self._lockout.record_failure(verdict, others):
            return [replace(verdict, reason=Reason.REPEATED_FAILURES)]
        return [verdict] if news else []

    def _match(self, embedding: FloatArray, config: RecognitionConfig | None = None) -> Match:
        """Nearest person of the gallery, with the threshold of this door."""
        config = config or self._config
        match = self.gallery.nearest(embedding)
        if match.person is None:
            return match
        threshold_sq = match.threshold_sq if config.threshold_sq is None else config.threshold_sq
        limit_sq = min(threshold_sq * config.threshold_factor, MAX_DISTANCE_SQ)
        return Match(match.person, match.distance_sq, limit_sq, match.runner_up_sq)

    def _is_consistent(self, state: _TrackState, embedding: FloatArray, match: Match) -> bool:
        """Whether a sample shows the face of the track, and does not contradict a verdict `unknown`."""
        if not state.evidence.samples:
            return True
        if not self._one_face(state.evidence, embedding):
            return False
        called_unknown = state.verdict is not None and state.verdict.finding is Identification.UNKNOWN
        return not (called_unknown and match.distance_sq <= match.threshold_sq)

    def _one_face(self, evidence: Fusion, embedding: FloatArray) -> bool:
        return float(2 - 2 * (evidence.fused @ embedding)) <= self._config.track_consistency_sq

    def _evaluate(self, track: Track, evidence: Fusion, others: Set[int], t_ns: int) -> Verdict:
        """Apply the thresholds, and the restriction of a visitor who has failed repeatedly."""
        if not evidence.samples:
            match = Match(None, MAX_DISTANCE_SQ, 0.0, MAX_DISTANCE_SQ)
            nothing, reason = np.zeros(0, np.float32), UndecidedReason.NO_SAMPLE
            return Verdict(Identification.UNDECIDED, track, match, nothing, 0, 0.0, reason, t_ns)
        verdict = self._apply_thresholds(track, evidence, self._config, t_ns)
        if verdict.finding is Identification.UNDECIDED:
            return verdict
        demand = self._lockout.restriction_for(verdict, others)
        if demand is Restriction.PAUSED and verdict.finding is Identification.RECOGNISED:
            return replace(verdict, finding=Identification.UNDECIDED, reason=UndecidedReason.PAUSED)
        return self._apply_thresholds(track, evidence, self._strict, t_ns) if demand is Restriction.STRICT else verdict

    def _apply_thresholds(self, track: Track, evidence: Fusion, config: RecognitionConfig, t_ns: int) -> Verdict:
        fused = evidence.fused
        match = self._match(fused, config)
        finding, reason = _classify(match, evidence, config, track.lost)
        return Verdict(
            finding, track, match, fused, evidence.samples, evidence.quality / evidence.samples, reason, t_ns
        )


def _classify(
    match: Match, evidence: Fusion, config: RecognitionConfig, left: bool
) -> tuple[Identification, Reason | UndecidedReason]:
    near = match.person is not None and match.distance_sq <= match.threshold_sq
    alone = match.runner_up_sq - match.distance_sq >= config.margin_sq
    agreeing = evidence.votes[match.person.id] if match.person else 0
    if near and alone and agreeing >= config.min_samples:
        return Identification.RECOGNISED, Reason.WITHIN_THRESHOLD
    enough_samples = max(config.unknown_samples, config.min_samples)
    enough = evidence.samples >= enough_samples or (left and evidence.samples >= config.min_samples)
    if not enough:
        return Identification.UNDECIDED, UndecidedReason.TOO_FEW_SAMPLES
    if not near:
        return Identification.UNKNOWN, Reason.BEYOND_THRESHOLD
    return Identification.UNKNOWN, Reason.TOO_FEW_AGREE if alone else Reason.RUNNER_UP_TOO_NEAR


def _lockout_limits(config: RecognitionConfig, lockout: LockoutConfig) -> RecognitionConfig:
    """Limits for a visitor after repeated failures."""
    return msgspec.structs.replace(
        config,
        threshold_factor=config.threshold_factor * lockout.threshold_factor,
        min_samples=config.min_samples + lockout.extra_samples,
    )
