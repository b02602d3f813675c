"""Publishes the prompts of liveness challenges on `…/challenge`, for a screen or a speaker, and logs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from edge.core.clock import Clock, wall_minus_monotonic_ns
from edge.core.uuid7 import Uuid7Source
from edge.events.factory import make_challenge
from edge.events.schema import Challenge
from edge.liveness.prompts import ChallengePrompt, ChallengeState

log = logging.getLogger(__name__)

_RESULT_VALID_NS = 5_000_000_000  # the message with the result of a challenge expires after this time


class ChallengePublisher:
    """Publishes the prompts of one door; all messages of a challenge have the same id.

    Args:
        door: name of the door.
        publish: publishes a message that expires at a monotonic time, nanoseconds.
        clock: time source.
    """

    def __init__(self, door: str, publish: Callable[[Challenge, int], None], clock: Clock) -> None:
        self._door = door
        self._publish = publish
        self._clock = clock
        self._ids = Uuid7Source()
        self._current = (0, "")  # number and id of the latest challenge

    def publish(self, prompts: Iterable[ChallengePrompt]) -> None:
        """Publish prompts, usually none."""
        for prompt in prompts:
            if self._current[0] != prompt.challenge_id:
                self._current = (prompt.challenge_id, self._ids.new(self._clock.unix_ns() // 1_000_000))
            asked = prompt.state is ChallengeState.ASKED
            log.info(
                "challenge %d: %s %s", prompt.challenge_id, prompt.state, prompt.movement if asked else prompt.reason
            )
            offset_ns = wall_minus_monotonic_ns(self._clock)
            message = make_challenge(prompt, id=self._current[1], door=self._door, offset_ns=offset_ns)
            self._publish(message, prompt.expires_ns if asked else prompt.t_ns + _RESULT_VALID_NS)
