"""Prompts of a liveness challenge: requested movements, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChallengeMovement(StrEnum):
    """Movements of challenges; left and right as the visitor sees them."""  # part of the contract documents

    TURN_LEFT = "turn-left"
    TURN_RIGHT = "turn-right"
    LOOK_UP = "look-up"


class ChallengeState(StrEnum):
    """State of a challenge."""  # part of the contract documents

    ASKED = "asked"
    PASSED = "passed"
    FAILED = "failed"


class ChallengeFailure(StrEnum):
    """Reason why a challenge failed; empty if it has not."""  # part of the contract documents

    NONE = ""
    TOO_LATE = "too-late"
    TOO_EARLY = "too-early"
    NOT_STILL = "not-still"
    MOVED_UNASKED = "moved-unasked"
    WRONG_MOVEMENT = "wrong-movement"
    JUMPED = "jumped"
    OUT_OF_SIGHT = "out-of-sight"
    LEFT = "left"
    ANOTHER_FACE = "another-face"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ChallengePrompt:
    """One message to the visitor."""

    challenge_id: int  # number of the challenge, rising from 1
    track: int  # id of the track
    state: ChallengeState  # a movement is asked for, or the challenge has ended
    movement: ChallengeMovement | None  # the movement; None: the challenge failed before the first request
    step: int  # step and steps: number of the movement and of all movements; step is 0 before the first
    steps: int
    reason: ChallengeFailure  # why the challenge failed
    t_ns: int  # time of the message
    expires_ns: int  # deadline of the movement; `t_ns` when the challenge is over
