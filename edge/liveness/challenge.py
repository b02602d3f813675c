"""Active challenge: the visitor is asked for head movements and has to make exactly these in time.

The movements, and the pause before each, are random for each challenge, so a recording cannot match them. A movement is
measured by depth, so a picture cannot make it (`edge.liveness.head_pose`). In each step the head is straight and still
for a random time; one movement is requested; the visitor makes it, holds it for three samples, and returns, without
jumps. Before, during and after the movement, only samples that show the recognised face count. Any other movement fails
the challenge. Pure: the time comes with the samples, and the source of random numbers is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from edge.core.config import LivenessConfig
from edge.core.records import FloatArray, Quality, Sample
from edge.liveness.head_pose import HeadTurn, RestPose
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengePrompt, ChallengeState

Chance = Callable[[], float]  # each call returns a random number in [0, 1)

_WRONG_SHARE = 0.7  # of an amplitude; more in a direction that was not requested is a wrong movement
_BACK_SHARE = 0.5  # of an amplitude; below it the head is straight again
# Largest share of the whole movement between two samples: heads that take 0.45 s per direction reach 0.6 at ten samples
# per second, and alternating pictures reach 1.
_MAX_JUMP = 0.7
_HOLD_FRAMES = 3  # samples
_MAX_MISSES = 2  # samples of a wrong movement
_SETTLED = 3  # samples; their mean is the present pose
_AT_REST = 8  # samples; movements are measured against their mean
_DRIFT_SHARE = 0.25  # of an amplitude; largest drift of a still head, about 20 degrees per second
_PAUSE_S = (1.0, 2.0)  # range of the time that the head is straight and still before a movement is requested
_REACTION_S = 0.3  # shortest plausible reaction time
_BLIND_S = 1.0  # longest time between two samples
# Squared distance of a sample to the recognised face; lower is nearer. Of 100 photos of LFW turned by 18 to 40 degrees,
# 99 are within 0.9 of the mean of three frontal ones of that person, and of 15 that look up, 13 are within 1.2.
_SAME_STRAIGHT_SQ, SAME_MOVED_SQ = 0.9, 1.2
# Faces turned this far cannot be identified, and a distant face becomes too small by turning. Size and place, and
# identified samples during the movement, show that it is the same head; without those the movement does not count.
_UNMEASURABLE = frozenset({"turned-away", "too-small"})
_KNOWN_SHARE = 0.5  # of the amplitude; the face must be identified at least once from here on


class MovementChallenge:
    """One challenge of one track."""

    def __init__(
        self, config: LivenessConfig, number: int, chance: Chance, embedding: FloatArray, t_ns: int, track_id: int = 0
    ) -> None:
        """
        Args:
            config: liveness configuration.
            number: number of the challenge.
            chance: source of random numbers for movements and pauses.
            embedding: recognised face, (D,) float32, unit length.
            t_ns: time of the beginning.
            track_id: track for the prompts.
        """
        self.state: ChallengeState | None = None  # None while waiting for a straight, still head
        self.reason = ChallengeFailure.NONE  # why the challenge failed
        self._number, self._track_id = number, track_id
        self._timeout_ns = round(config.challenge_step_timeout_s * 1e9)
        self._choice = [ChallengeMovement(ask) for ask in config.challenge_movements]
        self._chance = chance
        self._asks = [self._choose_movements(self._choice) for _ in range(config.challenge_steps)]
        self._embedding = embedding
        self._step = 0
        self._prompts: list[ChallengePrompt] = []
        self._rest: RestPose | None = None  # reference of movements, after the first request
        self._seen_ns = t_ns
        self._wait_for_rest(t_ns)

    @property
    def is_over(self) -> bool:
        return self.state in (ChallengeState.PASSED, ChallengeState.FAILED)

    @property
    def was_prompted(self) -> bool:
        """Whether a movement was requested, so that the visitor knows of the challenge."""
        return self._step > 0

    def drain_prompts(self) -> list[ChallengePrompt]:
        """Prompts for the visitor since the last call."""
        prompts, self._prompts = self._prompts, []
        return prompts

    def observe(self, sample: Sample, t_ns: int) -> None:
        """Process one sample; a sample without landmarks is ignored."""
        self.pass_time(t_ns)
        if self.is_over or sample.landmarks is None or sample.quality.refusal == "no-face":
            return
        look = sample.landmarks.points_px, sample.quality
        if self.state is ChallengeState.ASKED and self._rest:
            self._check_movement(sample, self._rest.to(RestPose.of([look])), t_ns)
        else:
            self._wait(sample, look, t_ns)
        self._seen_ns = t_ns

    def pass_time(self, t_ns: int) -> None:
        """Fail the challenge if a deadline has passed or there was no sample for too long."""
        if self.is_over:
            return
        if t_ns > self._expires_ns:
            asked = self.state is ChallengeState.ASKED
            self.fail(ChallengeFailure.TOO_LATE if asked else ChallengeFailure.NOT_STILL, t_ns)
        elif self.state is ChallengeState.ASKED and t_ns - self._seen_ns > _BLIND_S * 1e9:
            self.fail(ChallengeFailure.OUT_OF_SIGHT, t_ns)

    def fail(self, reason: ChallengeFailure, t_ns: int) -> None:
        """Fail the challenge, unless it is over."""
        if not self.is_over:
            self.state, self.reason = ChallengeState.FAILED, reason
            self._emit_prompt(t_ns, t_ns)

    def _choose_movements(self, asks: Sequence[ChallengeMovement]) -> ChallengeMovement:
        return asks[int(self._chance() * len(asks))]

    def _wait_for_rest(self, t_ns: int) -> None:
        """Wait for a straight, still head, for a random time."""
        least_s, most_s = _PAUSE_S
        self.state = None
        self._pause_ns = round((least_s + (most_s - least_s) * self._chance()) * 1e9)
        self._expires_ns = t_ns + self._pause_ns + self._timeout_ns
        self._looks: deque[tuple[FloatArray, Quality]] = deque(maxlen=_AT_REST)

    def _wait(self, sample: Sample, look: tuple[FloatArray, Quality], t_ns: int) -> None:
        """Process one sample while no movement is requested."""
        if sample.embedding is None and t_ns - self._seen_ns <= _BLIND_S * 1e9:
            return  # an unusable sample
        if t_ns - self._seen_ns > _BLIND_S * 1e9:
            self._looks.clear()
        self._looks.append(look)
        now, lately = RestPose.of([*self._looks][-_SETTLED:]), RestPose.of(self._looks)
        away = self._rest.to(now).largest if self._rest else 0.0
        if away > 1:
            self.fail(ChallengeFailure.MOVED_UNASKED, t_ns)
            return
        still = lately.to(now).largest <= _DRIFT_SHARE and away <= _BACK_SHARE
        if not (still and now.is_straight and self._is_same_face(sample, _SAME_STRAIGHT_SQ)):
            self._looks.clear()
        elif len(self._looks) == 1:
            self._still_since_ns = t_ns
        elif len(self._looks) >= _SETTLED and t_ns - self._still_since_ns >= self._pause_ns:
            self._prompt(lately, t_ns)

    def _prompt(self, rest: RestPose, t_ns: int) -> None:
        self.state, self._rest = ChallengeState.ASKED, rest
        possible = [ask for ask in self._choice if rest.permits(ask)]
        if possible and self._asks[self._step] not in possible:
            self._asks[self._step] = self._choose_movements(possible)
        self._step += 1
        self._asked_ns, self._expires_ns = t_ns, t_ns + self._timeout_ns
        self._held = self._wrong = 0
        self._known = False  # the face was identified while the head was turned
        self._share = self._reach = self._leap = 0.0
        self._emit_prompt(t_ns, self._expires_ns)

    def _check_movement(self, sample: Sample, turn: HeadTurn, t_ns: int) -> None:
        """Process one sample while a movement is requested."""
        ask = self._asks[self._step - 1]
        share = turn.share(ask)
        same = self._is_same_face(sample, SAME_MOVED_SQ)
        if sample.embedding is not None and not same and self._held < _HOLD_FRAMES:
            self._held = 0  # another face, or a wrong measurement: the hold is interrupted
        if not turn.in_place or not (same or (self._known and sample.quality.refusal in _UNMEASURABLE)):
            return  # possibly another head
        self._known = self._known or share >= _KNOWN_SHARE
        self._leap, self._share = max(self._leap, abs(share - self._share)), share
        self._reach = max(self._reach, share)
        wrong = any(turn.share(other) > _WRONG_SHARE for other in ChallengeMovement if other != ask)
        self._wrong = self._wrong + 1 if wrong else 0
        if self._wrong == _MAX_MISSES:
            self.fail(ChallengeFailure.WRONG_MOVEMENT, t_ns)
        elif share > _BACK_SHARE and t_ns - self._asked_ns < _REACTION_S * 1e9:
            self.fail(ChallengeFailure.TOO_EARLY, t_ns)
        elif self._held < _HOLD_FRAMES:
            self._held = self._held + 1 if turn.completed(ask) else 0
        elif share <= _BACK_SHARE and self._is_same_face(sample, _SAME_STRAIGHT_SQ):
            self._complete_step(t_ns)

    def _complete_step(self, t_ns: int) -> None:
        """Finish a movement that was made and reversed."""
        if self._leap > _MAX_JUMP * self._reach:
            self.fail(ChallengeFailure.JUMPED, t_ns)
        elif self._step < len(self._asks):
            self._wait_for_rest(t_ns)
        else:
            self.state = ChallengeState.PASSED
            self._emit_prompt(t_ns, t_ns)

    def _is_same_face(self, sample: Sample, within_sq: float) -> bool:
        return same_face(sample, self._embedding, within_sq)

    def _emit_prompt(self, t_ns: int, expires_ns: int) -> None:
        assert self.state is not None
        ask = self._asks[self._step - 1] if self._step else None
        whose, steps = (self._number, self._track_id), len(self._asks)
        self._prompts.append(ChallengePrompt(*whose, self.state, ask, self._step, steps, self.reason, t_ns, expires_ns))


def same_face(sample: Sample, embedding: FloatArray, within_sq: float) -> bool:
    """Whether a sample shows the recognised face; False for a refused sample.

    Args:
        sample: sample to compare.
        embedding: recognised face, (D,) float32, unit length.
        within_sq: largest squared distance; lower is stricter.
    """
    return sample.embedding is not None and apart_sq(sample.embedding, embedding) <= within_sq


def apart_sq(one: FloatArray, other: FloatArray) -> float:
    """Squared distance of two embeddings, (D,) float32 of unit length: 0 (same) to 4."""
    return 2 - 2 * float(one @ other)
