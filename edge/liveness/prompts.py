"""Prompts of a liveness challenge: what a visitor is asked to do, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChallengeMovement(StrEnum):
    """What a challenge can ask of a visitor; left and right are the visitor's own."""  # part of the contract documents

    TURN_LEFT = "turn-left"
    TURN_RIGHT = "turn-right"
    LOOK_UP = "look-up"


class ChallengeState(StrEnum):
    """How a challenge stands once there is something to tell."""  # part of the contract documents

    ASKED = "asked"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChallengePrompt:
    """One message to the visitor.

    Attributes:
        challenge_id: number of the challenge, rising from 1.
        track: id of the track.
        state: a movement is asked for, or the challenge has ended.
        movement: the movement; None: the challenge failed before it asked for any.
        step, steps: number of the movement and of all movements; step is 0 before the first.
        reason: why the challenge failed, or "".
        t_ns: time of the message.
        expires_ns: deadline of the movement; `t_ns` at the end of the challenge.
    """

    challenge_id: int
    track: int
    state: ChallengeState
    movement: ChallengeMovement | None
    step: int
    steps: int
    reason: str
    t_ns: int
    expires_ns: int
