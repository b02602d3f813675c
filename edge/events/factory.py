"""Makes events, open commands, status messages and challenges. Pure: ids and times are arguments."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision, Identification
from edge.core.timestamps import format_unix_ns
from edge.events.reasons import REASONS_BY_KIND
from edge.events.schema import (
    ACCESS_KINDS,
    SEQ_UNASSIGNED,
    VERSION,
    BoxPx,
    Challenge,
    DoorConnection,
    Event,
    EventKind,
    GalleryRef,
    Liveness,
    OpenCommand,
    PersonRef,
    Status,
)
from edge.liveness.prompts import ChallengePrompt


@dataclass(frozen=True, slots=True)
class EventContext:
    """Facts about a door that each of its events carries."""

    door: str  # name of the door
    clock_synced: bool  # whether its clock was set by a time server
    gallery_version: str  # version of the gallery in use, or "" before there is one
    models: tuple[tuple[str, str], ...] = ()  # job, such as "embedder", to the first digits of that model's sha256


def access_event(decision: Decision, *, id: str, at_ns: int, door: EventContext) -> Event:
    """The event of a decision. It names only a recognised person, never the person nearest to an unknown visitor.

    Args:
        id: a fresh UUIDv7.
        at_ns: capture time of the deciding frame, wall clock, nanoseconds since 1970 UTC.
    """
    verdict, match = decision.verdict, decision.verdict.match
    identified = verdict.finding is Identification.RECOGNISED and decision.kind is not AccessOutcome.UNKNOWN
    person = match.person if identified else None
    box = verdict.track.face.box
    return msgspec.structs.replace(
        _event(EventKind(decision.kind.value), Reason(decision.reason or verdict.reason), id, at_ns, door),
        person=None if person is None else PersonRef(id=person.id, name=person.name),
        distance_sq=round(float(match.distance_sq), 4),
        threshold_sq=round(float(match.threshold_sq), 4),
        runner_up_sq=round(float(match.runner_up_sq), 4),
        samples=verdict.samples,
        quality=round(min(max(float(verdict.quality), 0.0), 1.0), 3),
        rule=decision.rule,
        track=verdict.track.id,
        box=BoxPx(left=round(box.left), top=round(box.top), right=round(box.right), bottom=round(box.bottom)),
        liveness=_liveness(decision),
    )


def system_event(
    kind: EventKind,
    reason: Reason,
    detail: str | None = None,
    *,
    id: str,
    at_ns: int,
    door: EventContext,
    dropped: int | None = None,
) -> Event:
    """A system event of the door.

    Args:
        kind: any but the three access kinds.
        reason: code, one of those of this kind in `edge.events.reasons.REASONS_BY_KIND`.
        detail: words for people that the reason does not contain, such as an error message.
        id: a fresh UUIDv7.
        at_ns: time of the event, nanoseconds since 1970 UTC.
        dropped: number of lost events; for events-dropped only.

    Raises:
        ValueError: `kind` is an access kind, or the reason is not one of this kind.
    """
    if kind in ACCESS_KINDS:
        raise ValueError(f"{kind} is an access event; make it from a decision")
    if reason not in REASONS_BY_KIND[kind]:
        raise ValueError(f"'{reason}' is no reason of a {kind} event")
    return msgspec.structs.replace(_event(kind, reason, id, at_ns, door), dropped=dropped, detail=detail or None)


def _event(kind: EventKind, reason: Reason, id: str, at_ns: int, door: EventContext) -> Event:
    """An event with the fields that every event has; all others are null."""
    return Event(
        v=VERSION,
        id=id,
        seq=SEQ_UNASSIGNED,
        door=door.door,
        kind=kind,
        at=format_unix_ns(at_ns),
        published_at=None,
        person=None,
        distance_sq=None,
        threshold_sq=None,
        runner_up_sq=None,
        samples=None,
        quality=None,
        reason=reason,
        rule=None,
        track=None,
        box=None,
        clock_synced=door.clock_synced,
        gallery=GalleryRef(version=door.gallery_version) if door.gallery_version else None,
        models=dict(door.models),
    )


def make_open_command(event: Event, *, expires_ns: int) -> OpenCommand:
    """The open command of a stored door-open event, valid until `expires_ns`, nanoseconds since 1970 UTC.

    Raises:
        ValueError: not a door-open event, or one without a person.
    """
    if event.kind is not EventKind.DOOR_OPEN or event.person is None:
        raise ValueError(f"only a door-open event with a person opens a door, not {event.kind}")
    return OpenCommand(
        v=VERSION,
        id=event.id,
        seq=event.seq,
        door=event.door,
        person=event.person,
        at=event.at,
        expires_at=format_unix_ns(expires_ns),
    )


def make_status(door: str, connection: DoorConnection, reason: Reason, *, since_ns: int | None) -> Status:
    """The status message of a door, also for its last will.

    Args:
        reason: code, one of `edge.events.reasons.STATUS_REASONS`.
        since_ns: start of the status, nanoseconds since 1970 UTC; None in a last will, whose time is unknown.
    """
    since = None if since_ns is None else format_unix_ns(since_ns)
    return Status(v=VERSION, door=door, status=connection, reason=reason, since=since)


def make_challenge(prompt: ChallengePrompt, *, id: str, door: str, offset_ns: int) -> Challenge:
    """The challenge message of a prompt to a visitor.

    Args:
        id: id of the challenge, a UUIDv7.
        offset_ns: wall clock (nanoseconds since 1970 UTC) minus the clock of capture times.
    """
    return Challenge(
        v=VERSION,
        door=door,
        id=id,
        at=format_unix_ns(prompt.t_ns + offset_ns),
        expires_at=format_unix_ns(prompt.expires_ns + offset_ns),
        ask=prompt.movement,
        state=prompt.state,
        step=prompt.step,
        steps=prompt.steps,
        reason=prompt.reason,
    )


def _liveness(decision: Decision) -> Liveness | None:
    shown = decision.liveness
    if shown is None:
        return None
    return Liveness(
        mode=decision.required_liveness,
        score=None if shown.score is None else round(min(max(shown.score, 0.0), 1.0), 3),
        cues={name: round(value, 5) for name, value in shown.cues},
        challenge=shown.challenge,
    )
