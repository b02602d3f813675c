"""Decisions for tests of what comes after the pipeline."""

from __future__ import annotations

import time

import numpy as np

from edge.core.records import AccessOutcome, Box, Decision, Face, Identification, Match, Person, Track, Verdict


def a_decision(kind: AccessOutcome = AccessOutcome.DOOR_OPEN, t_ns: int | None = None) -> Decision:
    """A decision about Ada, who is recognised, in a frame captured at `t_ns`, by default just now."""
    t_ns = time.monotonic_ns() if t_ns is None else t_ns
    track = Track(1, Face(Box(10.0, 10.0, 90.0, 90.0), np.zeros((6, 2), np.float32), 0.9), 0, 1, 5)
    verdict = Verdict(
        finding=Identification.RECOGNISED,
        track=track,
        match=Match(Person("ada", "Ada Lovelace"), 0.5, 0.9, 1.5),
        embedding=np.full(4, 0.5, np.float32),
        samples=3,
        quality=0.9,
        reason="within-threshold",
        decided_ns=t_ns,
    )
    return Decision(kind, "doors.front.allow[0]", verdict, t_ns)
