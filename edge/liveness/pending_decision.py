"""A decision to open that waits for liveness, with the evidence so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from edge.core.reasons import Reason
from edge.core.records import Decision, LivenessMode, LivenessResult, strictest_mode
from edge.liveness.challenge import MovementChallenge
from edge.liveness.cues.weights import LivenessEvidence

PASSES: Literal[""] = ""
Outcome: TypeAlias = Reason | Literal[""] | None  # why the door stays closed, PASSES, or None while undecided


@dataclass(slots=True, eq=False)
class PendingDecision:
    """A decision to open that waits for liveness."""

    decision: Decision  # from the access rules; its required liveness may become stricter
    since_ns: int  # when watching began
    looked_ns: int  # time of the last sample of its track
    sure: bool = False  # the last sample shows the recognised face
    challenge: MovementChallenge | None = None  # running challenge, or None
    shows: int = 0  # how often liveness was shown so far, if it is required twice

    def confirmed(self, late: bool) -> Outcome:
        """`PASSES` if the last sample shows the recognised face; else None, or the reason when it is too late."""
        if self.sure:
            return PASSES
        return Reason.LIVENESS_NOT_SHOWN if late else None

    def tighten(self, required: LivenessMode) -> bool:
        """Require a stricter mode if the present rules do; returns whether they do."""
        if strictest_mode((required, self.decision.required_liveness)) is self.decision.required_liveness:
            return False
        self.decision = replace(self.decision, required_liveness=required)
        return True


def liveness_result(pending: PendingDecision | None, evidence: LivenessEvidence) -> LivenessResult:
    """Liveness of a track for events and reports."""
    challenge = pending.challenge if pending else None
    return LivenessResult(
        score=evidence.score if evidence.enough else None,
        cues=evidence.as_cues,
        challenge="" if challenge is None else challenge.reason or str(challenge.state or "waiting"),
    )
