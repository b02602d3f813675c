"""The active challenge: the visitor is asked to move the head, and has to do just that, in time.

Which movements, and how long to wait before each, is drawn anew, so a recording cannot know; the movement itself is
told from depth, so a picture cannot do it (`edge.liveness.motion`). Each step: the head is straight and still for a
while that nobody can foretell; one movement is asked; it is made, held for two looks, and taken back, and is seen on
the way out and back. Only looks that show the face that was recognised count, before, during and after. Anything else
that looks like a movement fails. Pure: time comes with the samples, and chance is handed in.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.config import LivenessConfig
from edge.liveness.motion import Straight, Turn
from edge.records import Ask, ChallengeState, Floats, Prompt, Sample

Chance = Callable[[], float]  # each call draws a number of [0, 1)

_WRONG_SHARE = 0.7  # of an amplitude, in a direction that was not asked
_BACK_SHARE = 0.5  # of an amplitude, within which the head is straight again
_WAY_SHARE = 0.3  # of an amplitude, from which to the whole of it a head is on its way; pictures shown in turn are not
_HELD = 2  # looks
_SETTLED = 3  # looks
_PAUSE_S = (0.5, 1.5)  # straight and still before a movement is asked, between these
_REACTION_S = 0.15  # nobody follows faster
_BLIND_S = 0.6  # longest time between two looks
# Squared distance of a look to the face that was recognised; lower is nearer. Of 100 photos of LFW turned by 18 to 40
# degrees, 99 are within 0.9 of the mean of three frontal ones of that person, and of 15 that look up, 13 within 1.2.
_SAME_STRAIGHT_SQ, _SAME_MOVED_SQ = 0.9, 1.2


class Challenge:
    """One challenge of one track.

    Attributes:
        state: where it stands; None while a straight, still head is waited for.
        reason: why it failed, or "".
    """

    def __init__(
        self, config: LivenessConfig, number: int, chance: Chance, embedding: Floats, t_ns: int, track_id: int = 0
    ) -> None:
        """
        Args:
            config: how many movements, which, and how long each may take.
            number: to tell it by.
            chance: draws what is asked and when.
            embedding: (D,) float32, unit length: the face that was recognised.
            t_ns: now.
            track_id: whom it is about, for those who are told.
        """
        self.state: ChallengeState | None = None
        self.reason = ""
        self._number, self._track_id = number, track_id
        self._timeout_ns = round(config.ask_timeout_s * 1e9)
        self._asks = [Ask(config.asks[int(chance() * len(config.asks))]) for _ in range(config.ask_steps)]
        self._chance = chance
        self._embedding = embedding
        self._step = 0
        self._prompts: list[Prompt] = []
        self._straight: Straight | None = None
        self._seen_ns = t_ns
        self._settle(t_ns)

    @property
    def over(self) -> bool:
        return self.state in (ChallengeState.PASSED, ChallengeState.FAILED)

    @property
    def asked(self) -> bool:
        """Whether a movement was asked: the visitor knows what it is about."""
        return self._step > 0

    def take_prompts(self) -> list[Prompt]:
        """What the visitor is to be told since the last call."""
        prompts, self._prompts = self._prompts, []
        return prompts

    def observe(self, sample: Sample, t_ns: int) -> None:
        """Take one look; a sample without a face's landmarks tells nothing."""
        self.pass_time(t_ns)
        if self.over or sample.landmarks is None or sample.quality.refusal == "no-face":
            return
        if self.state is None or self._straight is None:
            self._wait(sample, sample.landmarks.points_px, t_ns)
        else:
            self._follow(sample, self._straight.to(sample.landmarks.points_px, sample.quality), t_ns)
        self._seen_ns = t_ns

    def pass_time(self, t_ns: int) -> None:
        """Fail what took too long, or was out of sight, without a look."""
        if self.over:
            return
        if t_ns > self._expires_ns:
            self.fail("too-late" if self.state is ChallengeState.ASKED else "not-still", t_ns)
        elif self.state is ChallengeState.ASKED and t_ns - self._seen_ns > _BLIND_S * 1e9:
            self.fail("out-of-sight", t_ns)

    def fail(self, reason: str, t_ns: int) -> None:
        """It cannot be passed any more, unless it is over."""
        if not self.over:
            self.state, self.reason = ChallengeState.FAILED, reason
            self._tell(t_ns, t_ns)

    def _settle(self, t_ns: int) -> None:
        """Wait for a straight, still head, for a while that nobody can foretell."""
        least_s, most_s = _PAUSE_S
        self.state = None
        self._pause_ns = round((least_s + (most_s - least_s) * self._chance()) * 1e9)
        self._expires_ns = t_ns + self._pause_ns + self._timeout_ns
        self._begin_stillness(t_ns)

    def _begin_stillness(self, t_ns: int) -> None:
        self._still_since_ns, self._looks = t_ns, 0

    def _wait(self, sample: Sample, points: Floats, t_ns: int) -> None:
        """One look while nothing is asked."""
        now = Straight(points, sample.quality)
        moved = self._straight.to(points, sample.quality).largest if self._straight else 0.0
        if self._step and moved > 1:
            self.fail("moved-unasked", t_ns)
        elif not (now.is_straight and self._same(sample, _SAME_STRAIGHT_SQ) and t_ns - self._seen_ns <= _BLIND_S * 1e9):
            self._begin_stillness(t_ns)
        elif self._straight is None or moved > _BACK_SHARE:
            # Only before the first step: later on, what is straight must not wander.
            self._straight = self._straight if self._step else now
            self._begin_stillness(t_ns)
        else:
            self._looks += 1
            if self._looks >= _SETTLED and t_ns - self._still_since_ns >= self._pause_ns:
                self._straight = now
                self._ask(t_ns)

    def _ask(self, t_ns: int) -> None:
        self.state = ChallengeState.ASKED
        self._step += 1
        self._asked_ns, self._expires_ns = t_ns, t_ns + self._timeout_ns
        self._held, self._on_way = 0, False
        self._tell(t_ns, self._expires_ns)

    def _follow(self, sample: Sample, turn: Turn, t_ns: int) -> None:
        """One look while a movement is asked."""
        ask = self._asks[self._step - 1]
        share = turn.share(ask)
        if not self._same(sample, _SAME_MOVED_SQ):
            return  # whoever that is, or turned too far to tell
        if any(turn.share(other) > _WRONG_SHARE for other in Ask if other != ask):
            self.fail("wrong-movement", t_ns)
        elif share > _BACK_SHARE and t_ns - self._asked_ns < _REACTION_S * 1e9:
            self.fail("too-early", t_ns)
        elif self._held < _HELD and turn.made(ask):
            self._arrive(t_ns)
        elif self._held < _HELD:
            self._held, self._on_way = 0, self._on_way or _WAY_SHARE < share < 1
        elif share <= _BACK_SHARE and self._on_way and self._same(sample, _SAME_STRAIGHT_SQ):
            self._done(t_ns)
        elif share <= _WAY_SHARE and not self._on_way:
            self.fail("jumped", t_ns)
        elif share < 1:
            self._on_way = True

    def _arrive(self, t_ns: int) -> None:
        """One look at the movement made."""
        if not self._held and not self._on_way:
            self.fail("jumped", t_ns)
            return
        self._held += 1
        if self._held == _HELD:
            self._on_way = False  # and now back

    def _done(self, t_ns: int) -> None:
        """A movement was made and taken back."""
        if self._step < len(self._asks):
            self._settle(t_ns)
        else:
            self.state = ChallengeState.PASSED
            self._tell(t_ns, t_ns)

    def _same(self, sample: Sample, within_sq: float) -> bool:
        """Whether a look shows the face that was recognised; one that may not count as evidence shows nothing."""
        return sample.embedding is not None and 2 - 2 * float(sample.embedding @ self._embedding) <= within_sq

    def _tell(self, t_ns: int, expires_ns: int) -> None:
        assert self.state is not None
        ask = self._asks[self._step - 1] if self._step else None
        whose, steps = (self._number, self._track_id), len(self._asks)
        self._prompts.append(Prompt(*whose, self.state, ask, self._step, steps, self.reason, t_ns, expires_ns))
