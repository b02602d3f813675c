"""Holds decisions that would open the door until the recognised visitor has shown liveness.

Passive watching (`edge.liveness.passive`) requires no action of the visitor; a challenge (`edge.liveness.challenge`)
requests movements. Visitors who show too little are denied and sampled again after some time. Strangers and denied
people are not tested.

Evidence of liveness belongs to one face. Visitors are watched from their first sample on, but when they are recognised,
every usable sample so far must show the recognised face; otherwise watching starts again. From then on only such
samples count. A sample of another face clears the evidence, and so does every verdict that is not held. A photo and a
living face that alternate in front of one camera therefore do not open the door.

After repeated attacks with the face of one person, a visitor recognised as that person must show liveness twice: in two
separate periods of watching, or in two challenges. The person is not locked out; see `edge.recognition.lockout`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.core.config import LivenessConfig
from edge.core.reasons import Reason
from edge.core.records import (
    AccessOutcome,
    Decision,
    Face,
    FloatArray,
    Frame,
    Identification,
    LivenessMode,
    LivenessResult,
    Sample,
    Track,
    Verdict,
)
from edge.liveness.challenge import SAME_MOVED_SQ, Chance, MovementChallenge, apart_sq, same_face
from edge.liveness.cues.weights import LivenessEvidence
from edge.liveness.passive import PassiveLiveness
from edge.liveness.pending_decision import PASSES, Outcome, PendingDecision, liveness_result
from edge.liveness.prompts import ChallengeFailure, ChallengePrompt, ChallengeState
from edge.recognition.aggregator import IdentityAggregator
from edge.vision.face_mesh import eye_centred

RULE = "liveness"  # rule of denials by this gate

DecideFn = Callable[[Verdict], Decision]


class LivenessGate:
    """Holds openings until liveness is shown; pure, time and source of random numbers are arguments."""

    def __init__(
        self,
        config: LivenessConfig,
        aggregator: IdentityAggregator,
        chance: Chance | None,
        look_every_s: float,
        *,
        passive: PassiveLiveness | None = None,
        make_challenge: Callable[..., MovementChallenge] = MovementChallenge,
    ) -> None:
        """
        Args:
            config: liveness configuration.
            aggregator: source of verdicts. If liveness is required, its `counts_names_as_success` must be False.
            chance: source of random numbers for challenges; None if no rule requires a challenge.
            look_every_s: shortest interval between two samples of a track.
        """
        self.active = True  # whether any rule requires liveness; if not, visitors are not watched and nothing is held
        self.counts: Counter[str] = Counter()  # results since the start, by reason; "shown" for a pass
        self._config = config
        self._aggregator = aggregator
        self._chance = chance
        self._look_every_ns = look_every_s * 1e9
        self._passive = passive or PassiveLiveness(config=config)
        self._make_challenge = make_challenge
        self._ahead: dict[int, list[FloatArray]] = {}  # embeddings before the verdict, by track
        self._held: dict[int, PendingDecision] = {}
        self._denied: dict[int, tuple[Verdict, int]] = {}  # by track, with the time to sample it again
        self._prompts: list[ChallengePrompt] = []
        self._challenges = 0

    def drain_prompts(self) -> list[ChallengePrompt]:
        """Prompts for visitors since the last call."""
        prompts, self._prompts = self._prompts, []
        return prompts

    def result_for(self, track_id: int) -> LivenessResult | None:
        """Liveness of a track so far; None before it is watched and after its decision."""
        evidence, held = self._passive.evaluate(track_id), self._held.get(track_id)
        return liveness_result(held, evidence) if held or evidence.looks else None

    def tracks_due(self, tracks: Sequence[Track], t_ns: int) -> list[Track]:
        """Held tracks whose next sample is due, at twice the rate during a challenge because heads turn fast."""
        return [
            track
            for track in tracks
            if not track.lost
            and (held := self._held.get(track.id)) is not None
            and t_ns - held.looked_ns >= self._look_every_ns / (2 if held.challenge else 1)
        ]

    def face_to_read(self, track: Track) -> Face:
        """The face to sample; during a challenge its box is moved to where turns are measured best."""
        held = self._held.get(track.id)
        return eye_centred(track.face) if held and held.challenge else track.face

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Process one sample, after the aggregator has processed it."""
        held = self._held.get(track.id)
        if held is None:
            self._watch_ahead(track, frame, sample, t_ns)
            return
        held.looked_ns = t_ns
        held.sure = same_face(sample, held.decision.verdict.embedding, SAME_MOVED_SQ)
        if held.sure:
            self._passive.observe(track, frame, sample, t_ns)
        elif sample.embedding is not None:  # another face: the evidence so far may be of that face
            self._passive.forget(track.id)
            held.shows = 0
        if held.challenge is not None:
            held.challenge.observe(sample, t_ns)

    def filter_decisions(
        self, decisions: Sequence[Decision], tracks: Sequence[Track], t_ns: int, decide: DecideFn
    ) -> list[Decision]:
        """Return the decisions that require no liveness, and held ones that are settled; hold the others.

        Args:
            decisions: decisions of this frame.
            tracks: all tracks of this frame, including those just lost.
            t_ns: time of the frame.
            decide: applies the present access rules to a verdict.
        """
        present = {track.id for track in tracks if not track.lost}
        answers = []
        for decision in decisions:
            if decision.kind is AccessOutcome.DOOR_OPEN and decision.required_liveness is not LivenessMode.OFF:
                self._hold(decision, t_ns)
                continue
            answers.append(decision)
            if decision.verdict.finding is Identification.RECOGNISED:
                self._aggregator.count_success(decision.verdict, present - {decision.verdict.track.id})
        for track in tracks:
            if track.id in self._held:
                answers += self._resolve(track, t_ns, decide, present - {track.id})
            if track.lost:
                self._forget(track.id)
                self._resample(track.id)
        for track_id in [track_id for track_id, (_, when_ns) in self._denied.items() if t_ns >= when_ns]:
            self._resample(track_id)
        return answers

    def reset(self) -> None:
        """Drop all evidence and held decisions, because models, people or rules change."""
        for track_id, held in list(self._held.items()):
            self._reject(held, ChallengeFailure.INTERRUPTED, held.looked_ns)
            self._drop(track_id)
            self._aggregator.reset(held.decision.verdict)
        for track_id in list(self._denied):
            self._resample(track_id)
        self._passive.clear()
        self._ahead.clear()

    def _watch_ahead(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        """Process a sample before the verdict, so that most visitors have shown liveness when they are recognised."""
        if self._aggregator.verdict_of(track) is not None or self._aggregator.is_contested(track):
            self._forget(track.id)
        elif sample.embedding is not None:
            self._passive.observe(track, frame, sample, t_ns)
            self._ahead.setdefault(track.id, []).append(sample.embedding)

    def _hold(self, decision: Decision, t_ns: int) -> None:
        """Hold a decision until its face has shown liveness; evidence of another face is dropped."""
        verdict = decision.verdict
        self._held[verdict.track.id] = PendingDecision(decision, t_ns, t_ns)
        looks = self._ahead.pop(verdict.track.id, [])
        if any(apart_sq(look, verdict.embedding) > SAME_MOVED_SQ for look in looks):
            self._passive.forget(verdict.track.id)

    def _forget(self, track_id: int) -> None:
        self._passive.forget(track_id)
        self._ahead.pop(track_id, None)

    def _resolve(self, track: Track, t_ns: int, decide: DecideFn, others: set[int]) -> list[Decision]:
        """The decision of a held track if it is settled; else an empty list."""
        held = self._held[track.id]
        evidence = self._passive.evaluate(track.id)
        verdict = replace(held.decision.verdict, track=track, decided_ns=t_ns)
        gone = track.lost or self._aggregator.verdict_of(track) is not held.decision.verdict
        if gone:
            self._reject(held, ChallengeFailure.LEFT if track.lost else ChallengeFailure.ANOTHER_FACE, t_ns)
            outcome: Outcome = Reason.CHALLENGE_FAILED if held.challenge else Reason.LIVENESS_NOT_SHOWN
        else:
            outcome = self._outcome(track, held, evidence, t_ns)
        if held.challenge:
            self._prompts += held.challenge.drain_prompts()
        if outcome is None:
            return []
        shown = liveness_result(held, evidence)
        if outcome == PASSES and self._aggregator.impersonated(verdict) and not held.shows:
            held.shows, held.since_ns, held.challenge = 1, t_ns, None
            self._passive.forget(track.id)
            return []
        if outcome == PASSES:
            decision = decide(verdict)
            if decision.kind is AccessOutcome.DOOR_OPEN and held.tighten(decision.required_liveness):
                return []
            self._aggregator.count_success(verdict, others)
        else:
            decision = replace(
                held.decision, kind=AccessOutcome.DENIED, rule=RULE, verdict=verdict, t_ns=t_ns, reason=outcome
            )
            self._denied[track.id] = (verdict, t_ns if gone else t_ns + round(self._config.retry_s * 1e9))
            # Leaving after the request is a failure; otherwise one could retry until the request fits a recording.
            if outcome == Reason.PRESENTATION_ATTACK or (held.challenge and held.challenge.was_prompted):
                self._aggregator.count_failure(verdict, others)
            else:
                self._aggregator.discredit(verdict)
        self.counts[outcome or "shown"] += 1
        self._drop(track.id)
        return [replace(decision, liveness=shown)]

    def _outcome(self, track: Track, held: PendingDecision, evidence: LivenessEvidence, t_ns: int) -> Outcome:
        """Reason why the door stays closed, PASSES, or None while undecided."""
        config, late = self._config, t_ns - held.since_ns >= self._config.timeout_s * 1e9
        attack = evidence.enough and evidence.score >= config.attack_score
        if held.challenge is not None:
            held.challenge.pass_time(t_ns)
            if not held.challenge.is_over:
                return None
            if attack:
                return Reason.PRESENTATION_ATTACK
            failed = held.challenge.state is ChallengeState.FAILED
            return Reason.CHALLENGE_FAILED if failed else held.confirmed(late)
        if held.decision.required_liveness is LivenessMode.CHALLENGE:
            doubtful = late or attack or (evidence.enough and evidence.score >= config.challenge_score)
            if config.challenge_when == "always" or doubtful:
                self._challenge(track, held, t_ns)
                return None
        elif attack:
            return Reason.PRESENTATION_ATTACK
        if evidence.enough:
            return held.confirmed(late)
        return Reason.LIVENESS_NOT_SHOWN if late else None

    def _challenge(self, track: Track, held: PendingDecision, t_ns: int) -> None:
        """Begin a challenge, unless another one is running: a door has one screen."""
        if any(other.challenge is not None for other in self._held.values()):
            return
        assert self._chance is not None, "challenges need a source of random numbers"
        self._challenges += 1
        embedding = held.decision.verdict.embedding
        held.challenge = self._make_challenge(self._config, self._challenges, self._chance, embedding, t_ns, track.id)

    def _drop(self, track_id: int) -> None:
        del self._held[track_id]
        self._passive.forget(track_id)

    def _reject(self, held: PendingDecision, reason: ChallengeFailure, t_ns: int) -> None:
        if held.challenge:
            held.challenge.fail(reason, t_ns)
            self._prompts += held.challenge.drain_prompts()

    def _resample(self, track_id: int) -> None:
        """Let a visitor who was denied by the gate try again; the next decision is reported."""
        if track_id in self._denied:
            self._aggregator.reset(self._denied.pop(track_id)[0])
