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
    """One message to the visitor."""

    challenge_id: int  # number of the challenge, rising from 1
    track: int  # id of the track
    state: ChallengeState  # a movement is asked for, or the challenge has ended
    movement: ChallengeMovement | None  # the movement; None: the challenge failed before it asked for any
    step: int  # step and steps: number of the movement and of all movements; step is 0 before the first
    steps: int
    reason: str  # why the challenge failed, or ""
    t_ns: int  # time of the message
    expires_ns: int  # deadline of the movement; `t_ns` at the end of the challenge
