"""What the door asks of a visitor, told: in the log, and to a screen or a speaker on `…/challenge`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from edge.core.records import ChallengePrompt, ChallengeState
from edge.core.uuid7 import Uuid7Source
from edge.events.factory import make_challenge
from edge.events.schema import Challenge

log = logging.getLogger(__name__)

_RESULT_VALID_NS = 5_000_000_000  # how a challenge ended is worth telling for so long


class ChallengePublisher:
    """Tells the prompts of one door; all messages of one challenge have one id.

    Args:
        door: its name.
        publish: takes a message, and until when (monotonic, nanoseconds) it is worth telling.
    """

    def __init__(self, door: str, publish: Callable[[Challenge, int], None]) -> None:
        self._door = door
        self._publish = publish
        self._ids = Uuid7Source()
        self._current = (0, "")  # number and id of the challenge told of last

    def publish(self, prompts: Iterable[ChallengePrompt]) -> None:
        """Tell them now; seldom any."""
        for prompt in prompts:
            number, id_ = self._current
            if number != prompt.challenge_id:
                id_ = self._ids.new(time.time_ns() // 1_000_000)
                self._current = (prompt.challenge_id, id_)
            asked = prompt.state is ChallengeState.ASKED
            log.info(
                "challenge %d: %s %s", prompt.challenge_id, prompt.state, prompt.movement if asked else prompt.reason
            )
            offset_ns = time.time_ns() - time.monotonic_ns()
            message = make_challenge(prompt, id=id_, door=self._door, offset_ns=offset_ns)
            self._publish(message, prompt.expires_ns if asked else prompt.t_ns + _RESULT_VALID_NS)
