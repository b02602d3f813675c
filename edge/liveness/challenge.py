"""The active challenge: the visitor is asked to move the head, and has to do just that, in time.

The movements, and the wait before each, are drawn at random for each challenge, so a recording cannot match them. A
movement is measured from depth, so a picture cannot make it (`edge.liveness.head_pose`). Each step: the head is
straight and still for a random time; one movement is asked; it is made, held for three looks, and taken back, and never
jumps on the way. Only looks that show the face that was recognised count, before, during and after. Anything else that
looks like a movement fails. Pure: time comes with the samples, and the source of random numbers is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from edge.core.config import LivenessConfig
from edge.core.records import FloatArray, Quality, Sample
from edge.liveness.head_pose import HeadTurn, RestPose
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengePrompt, ChallengeState

Chance = Callable[[], float]  # each call draws a number of [0, 1)

_WRONG_SHARE = 0.7  # of an amplitude, in a direction that was not asked
_BACK_SHARE = 0.5  # of an amplitude, within which the head is straight again
# Of the whole movement, between two looks: heads that take 0.45 s each way show at most 0.6 at ten looks a second, and
# pictures shown in turn all of it.
_MAX_JUMP = 0.7
_HOLD_FRAMES = 3  # looks
_MAX_MISSES = 2  # looks at a movement that was not asked
_SETTLED = 3  # looks; their mean is where the head is now
_AT_REST = 8  # looks, whose mean movements are measured against
_DRIFT_SHARE = 0.25  # of an amplitude, from those to these: about 20 degrees a second; more is no stillness
_PAUSE_S = (1.0, 2.0)  # straight and still before a movement is asked, between these
_REACTION_S = 0.3  # nobody is so far on the way sooner
_BLIND_S = 1.0  # longest time between two looks
# Squared distance of a look to the face that was recognised; lower is nearer. Of 100 photos of LFW turned by 18 to 40
# degrees, 99 are within 0.9 of the mean of three frontal ones of that person, and of 15 that look up, 13 within 1.2.
_SAME_STRAIGHT_SQ, SAME_MOVED_SQ = 0.9, 1.2
# Nobody can tell whose face is turned so far; a far one becomes too small to tell by turning. That it is the same head
# follows from its size and place, and from looks on the way that do tell: without those the movement is not counted.
_UNMEASURABLE = frozenset({"turned-away", "too-small"})
_KNOWN_SHARE = 0.5  # of the amplitude; turned so far, or farther, the face has to be told before it cannot be


class MovementChallenge:
    """One challenge of one track."""

    def __init__(
        self, config: LivenessConfig, number: int, chance: Chance, embedding: FloatArray, t_ns: int, track_id: int = 0
    ) -> None:
        """
        Args:
            number: to tell it by.
            chance: draws what is asked and when.
            embedding: (D,) float32, unit length: the face that was recognised.
            track_id: whom it is about, for those who are told.
        """
        self.state: ChallengeState | None = None  # where it stands; None while a straight, still head is waited for
        self.reason = ChallengeFailure.NONE  # why it failed
        self._number, self._track_id = number, track_id
        self._timeout_ns = round(config.challenge_step_timeout_s * 1e9)
        self._choice = [ChallengeMovement(ask) for ask in config.challenge_movements]
        self._chance = chance
        self._asks = [self._choose_movements(self._choice) for _ in range(config.challenge_steps)]
        self._embedding = embedding
        self._step = 0
        self._prompts: list[ChallengePrompt] = []
        self._rest: RestPose | None = None  # what movements are measured against, once one was asked
        self._seen_ns = t_ns
        self._wait_for_rest(t_ns)

    @property
    def is_over(self) -> bool:
        return self.state in (ChallengeState.PASSED, ChallengeState.FAILED)

    @property
    def was_prompted(self) -> bool:
        """Whether a movement was asked: the visitor knows what it is about."""
        return self._step > 0

    def drain_prompts(self) -> list[ChallengePrompt]:
        """What the visitor is to be told since the last call."""
        prompts, self._prompts = self._prompts, []
        return prompts

    def observe(self, sample: Sample, t_ns: int) -> None:
        """Take one look; a sample without a face's landmarks tells nothing."""
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
        """Fail what took too long, or was out of sight, without a look."""
        if self.is_over:
            return
        if t_ns > self._expires_ns:
            asked = self.state is ChallengeState.ASKED
            self.fail(ChallengeFailure.TOO_LATE if asked else ChallengeFailure.NOT_STILL, t_ns)
        elif self.state is ChallengeState.ASKED and t_ns - self._seen_ns > _BLIND_S * 1e9:
            self.fail(ChallengeFailure.OUT_OF_SIGHT, t_ns)

    def fail(self, reason: ChallengeFailure, t_ns: int) -> None:
        """It cannot be passed any more, unless it is over."""
        if not self.is_over:
            self.state, self.reason = ChallengeState.FAILED, reason
            self._emit_prompt(t_ns, t_ns)

    def _choose_movements(self, asks: Sequence[ChallengeMovement]) -> ChallengeMovement:
        return asks[int(self._chance() * len(asks))]

    def _wait_for_rest(self, t_ns: int) -> None:
        """Wait for a straight, still head, for a while that nobody can foretell."""
        least_s, most_s = _PAUSE_S
        self.state = None
        self._pause_ns = round((least_s + (most_s - least_s) * self._chance()) * 1e9)
        self._expires_ns = t_ns + self._pause_ns + self._timeout_ns
        self._looks: deque[tuple[FloatArray, Quality]] = deque(maxlen=_AT_REST)

    def _wait(self, sample: Sample, look: tuple[FloatArray, Quality], t_ns: int) -> None:
        """One look while nothing is asked."""
        if sample.embedding is None and t_ns - self._seen_ns <= _BLIND_S * 1e9:
            return  # it tells nothing
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
        self._known = False  # the face was told while the head was turned
        self._share = self._reach = self._leap = 0.0
        self._emit_prompt(t_ns, self._expires_ns)

    def _check_movement(self, sample: Sample, turn: HeadTurn, t_ns: int) -> None:
        """One look while a movement is asked."""
        ask = self._asks[self._step - 1]
        share = turn.share(ask)
        same = self._is_same_face(sample, SAME_MOVED_SQ)
        if sample.embedding is not None and not same and self._held < _HOLD_FRAMES:
            self._held = 0  # another face, or a look that errs: it is not held in a row
        if not turn.in_place or not (same or (self._known and sample.quality.refusal in _UNMEASURABLE)):
            return  # perhaps another head
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
        """A movement was made and taken back."""
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
    """Whether a look shows the face that was recognised; one that may not count as evidence shows nothing.

    Args:
        embedding: (D,) float32, unit length: the face that was recognised.
        within_sq: largest squared distance; lower is stricter.
    """
    return sample.embedding is not None and apart_sq(sample.embedding, embedding) <= within_sq


def apart_sq(one: FloatArray, other: FloatArray) -> float:
    """The squared distance of two embeddings, (D,) float32 of unit length: 0 (same) to 4."""
    return 2 - 2 * float(one @ other)
