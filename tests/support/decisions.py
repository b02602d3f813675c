"""Decisions for tests of the code after the pipeline."""

from __future__ import annotations

import time

import numpy as np

from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Box, Decision, Face, Identification, Match, Person, Track, Verdict
from edge.events.factory import access_event
from edge.events.schema import Event
from support.mqtt_brokers import DOOR, T0_NS

EVENT_ID = "018bcfe5-687b-7abc-8def-0123456789ab"


def a_decision(kind: AccessOutcome = AccessOutcome.DOOR_OPEN, t_ns: int | None = None) -> Decision:
    """A decision that recognises Ada in a frame captured at `t_ns`, by default now."""
    t_ns = time.monotonic_ns() if t_ns is None else t_ns
    track = Track(1, Face(Box(10.0, 10.0, 90.0, 90.0), np.zeros((6, 2), np.float32), 0.9), 0, 1, 5)
    verdict = Verdict(
        finding=Identification.RECOGNISED,
        track=track,
        match=Match(Person("ada", "Ada Lovelace"), 0.5, 0.9, 1.5),
        embedding=np.full(4, 0.5, np.float32),
        samples=3,
        quality=0.9,
        reason=Reason.WITHIN_THRESHOLD,
        decided_ns=t_ns,
    )
    return Decision(kind, "doors.front.allow[0]", verdict, t_ns)


def _decision(kind: AccessOutcome, finding: Identification, reason: Reason) -> Decision:
    """A decision with Ada as the nearest person, and numbers that an event rounds."""
    face = Face(Box(10.4, 20.6, 110.5, 140.0), np.zeros((6, 2), np.float32), 0.9)
    track = Track(3, face, 0, 1, 5)
    match = Match(Person("ada", "Ada Lovelace"), 0.612_345_6, 0.9, float(np.float32(1.234_567)))
    verdict = Verdict(
        finding=finding,
        track=track,
        match=match,
        embedding=np.full(192, 0.072, np.float32),
        samples=4,
        quality=0.812_345,
        reason=reason,
        decided_ns=1,
    )
    return Decision(kind, "allow *", verdict, 1)


def an_access_event(
    kind: AccessOutcome = AccessOutcome.DOOR_OPEN,
    finding: Identification = Identification.RECOGNISED,
    reason: Reason = Reason.WITHIN_THRESHOLD,
) -> Event:
    """The event of a decision."""
    return access_event(_decision(kind, finding, reason), id=EVENT_ID, at_ns=T0_NS, door=DOOR)
