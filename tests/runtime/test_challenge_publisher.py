"""ChallengePublisher: messages of prompts with deadlines in wall-clock time."""

from __future__ import annotations

from support.manual_clock import ManualClock

from edge.events.schema import Challenge
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengePrompt, ChallengeState
from edge.runtime.challenge_publisher import ChallengePublisher

S = 1_000_000_000


def prompt(challenge_id: int, state: ChallengeState, t_s: int) -> ChallengePrompt:
    asked = state is ChallengeState.ASKED
    return ChallengePrompt(
        challenge_id=challenge_id,
        track=1,
        state=state,
        movement=ChallengeMovement.TURN_LEFT,
        step=1,
        steps=2,
        reason=ChallengeFailure.NONE,
        t_ns=t_s * S,
        expires_ns=(t_s + 6) * S if asked else t_s * S,
    )


def test_messages_of_one_challenge_share_an_id_and_expire() -> None:
    """A prompt expires at its deadline, a result after five seconds."""
    sent: list[tuple[Challenge, int]] = []
    clock = ManualClock(unix_s=1_900_000_000, monotonic_s=1000)
    publisher = ChallengePublisher("front", lambda message, expires_ns: sent.append((message, expires_ns)), clock)
    publisher.publish([prompt(1, ChallengeState.ASKED, 1000), prompt(1, ChallengeState.PASSED, 1002)])
    publisher.publish([prompt(2, ChallengeState.ASKED, 1003)])
    first, passed, second = (message for message, _ in sent)
    assert first.id == passed.id != second.id
    assert [expires_ns for _, expires_ns in sent] == [1006 * S, 1007 * S, 1009 * S]
    assert (first.at, first.expires_at) == ("2030-03-17T17:46:40.000Z", "2030-03-17T17:46:46.000Z")


def test_nothing_to_publish() -> None:
    sent: list[Challenge] = []
    ChallengePublisher("front", lambda message, _: sent.append(message), ManualClock()).publish([])
    assert sent == []
