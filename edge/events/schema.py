"""The MQTT contract, version 1: the messages of a door as types; `edge.events.topics` has their topics.

Every field is always present; a field that does not apply is null. A field added later gets a default here, so that
events stored by an earlier version stay readable; consumers ignore keys that they do not know. No message holds
embeddings; pixels are only in snapshots, JPEG files on `…/snapshot/<event id>`.
"""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.core.errors import DECODE_ERRORS
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, LivenessMode
from edge.events.compatibility import replace_unlisted_reason
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengeState

VERSION: Literal[1] = 1
SEQ_UNASSIGNED = 0  # an event that is not in the outbox yet

Rfc3339 = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="UTC, RFC 3339, milliseconds",
        extra_json_schema={"format": "date-time"},
    ),
]
Version = Annotated[Literal[1], Meta(description="version of this contract")]
EventId = Annotated[str, Meta(description="UUIDv7; equal in every copy of one event, so use it to drop copies")]
DoorName = Annotated[str, Meta(description="name of the door, as in its door.toml")]
ModelRefs = Annotated[dict[str, str], Meta(description="models in use: task and first digits of the SHA-256")]
SequenceNumber = Annotated[
    int, Meta(ge=0, description="number of the event; only rises, also over restarts; may have gaps")
]
Detail = Annotated[str, Meta(description="more about `reason`, in words, for people")]


class EventKind(StrEnum):
    """Kind of event: the answer to a visitor (the first three), or a system event of the door."""

    DOOR_OPEN = AccessOutcome.DOOR_OPEN.value
    DENIED = AccessOutcome.DENIED.value
    UNKNOWN = AccessOutcome.UNKNOWN.value
    STARTED = "started"
    STOPPED = "stopped"
    CAMERA_LOST = "camera-lost"
    CAMERA_BACK = "camera-back"
    CAMERA_BLIND = "camera-blind"
    CAMERA_SEES = "camera-sees"
    OPEN_EXPIRED = "open-expired"
    OPEN_UNHEARD = "open-unheard"
    EVENTS_DROPPED = "events-dropped"
    RELEASE_APPLIED = "release-applied"
    RELEASE_REFUSED = "release-refused"
    STORE_FAILING = "store-failing"
    STORE_BACK = "store-back"
    STORE_REPLACED = "store-replaced"
    CLOCK_STEPPED = "clock-stepped"


ACCESS_KINDS = frozenset(EventKind(kind.value) for kind in AccessOutcome)


class PersonRef(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled person."""

    id: Annotated[str, Meta(description="id, as in access rules")]
    name: Annotated[str, Meta(description="display name")]


class BoxPx(msgspec.Struct, frozen=True, kw_only=True):
    """The face in pixels of the frame, origin at the top left; it may reach beyond the frame."""

    left: Annotated[int, Meta(description="left edge, pixels")]
    top: Annotated[int, Meta(description="top edge, pixels")]
    right: Annotated[int, Meta(description="right edge, pixels")]
    bottom: Annotated[int, Meta(description="bottom edge, pixels")]


class GalleryRef(msgspec.Struct, frozen=True, kw_only=True):
    """The gallery in use."""

    version: Annotated[str, Meta(description="SHA-256 of the gallery file, 64 hexadecimal digits")]


class Liveness(msgspec.Struct, frozen=True, kw_only=True):
    """Signs of life that the visitor showed, if the door requires any."""

    mode: Annotated[LivenessMode, Meta(description="what the door required")]
    score: Annotated[float, Meta(ge=0, le=1, description="0 genuine, 1 attack; null: observed too briefly")] | None
    cues: Annotated[dict[str, float], Meta(description="measured cues behind the score, by name")]
    challenge: Annotated[str, Meta(description='"passed", the reason of a failure, or "" without a challenge')]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One access or system event. Events are delivered in the order of `seq`, at least once."""

    v: Version
    id: EventId
    seq: SequenceNumber
    door: DoorName
    kind: EventKind
    at: Annotated[Rfc3339, Meta(description="time of the event; for an access event, when the frame was captured")]
    published_at: Annotated[Rfc3339, Meta(description="when this copy was sent")] | None
    person: Annotated[PersonRef | None, Meta(description="the recognised person; null: nobody, or unknown")]
    distance_sq: (
        Annotated[float, Meta(description="distance of the face to the nearest person; lower is nearer")] | None
    )
    threshold_sq: Annotated[float, Meta(description="largest accepted `distance_sq`; lower is stricter")] | None
    runner_up_sq: Annotated[float, Meta(description="distance to the second nearest person; lower is nearer")] | None
    samples: Annotated[int, Meta(description="number of samples of the face behind the result")] | None
    quality: Annotated[float, Meta(ge=0, le=1, description="mean quality of those samples, 0 to 1")] | None
    reason: Reason
    rule: Annotated[str, Meta(description="access rule that decided, as its place in policy.toml")] | None
    track: Annotated[int, Meta(description="number of the visitor's track since the start, from 1")] | None
    box: Annotated[BoxPx | None, Meta(description="the face in the frame; null in system events")]
    clock_synced: Annotated[bool, Meta(description="whether a time server has set the clock of the door")]
    gallery: GalleryRef | None
    models: ModelRefs
    dropped: Annotated[int, Meta(description="number of lost events; events-dropped only")] | None = None
    liveness: Annotated[Liveness | None, Meta(description="signs of life; null: the door required none")] = None
    detail: Detail | None = None


class OpenCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The command to open the lock. A lock ignores it after `expires_at`.

    The door never sends it late, but a broker may hold it back for a subscriber that was away, and MQTT 3.1.1 has no
    message expiry. So the receiver checks, too.
    """

    v: Version
    id: EventId
    seq: SequenceNumber
    door: DoorName
    person: PersonRef
    at: Annotated[Rfc3339, Meta(description="when the deciding frame was captured")]
    expires_at: Annotated[Rfc3339, Meta(description="a lock that receives the command later does not open")]


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """Request to the visitor during a challenge, for a screen or a loudspeaker. It does not open the door."""

    v: Version
    door: DoorName
    id: Annotated[str, Meta(description="UUIDv7; equal in all messages of one challenge")]
    at: Annotated[Rfc3339, Meta(description="when the movement was asked for, or the challenge ended")]
    expires_at: Annotated[Rfc3339, Meta(description="deadline of the movement; at the end as `at`")]
    ask: Annotated[ChallengeMovement, Meta(description="left and right of the visitor; null: none yet")] | None
    state: ChallengeState
    step: Annotated[int, Meta(ge=0, description="number of this movement, from 1; 0: none yet")]
    steps: Annotated[int, Meta(ge=1, description="number of movements")]
    reason: ChallengeFailure


class DoorConnection(StrEnum):
    """Whether a door is connected."""

    ONLINE = "online"
    OFFLINE = "offline"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the door is connected. If the connection breaks, the broker publishes `offline` (last will)."""

    v: Version
    door: DoorName
    status: DoorConnection
    reason: Reason
    since: Annotated[Rfc3339, Meta(description="since when; null: the broker noticed, and only it knows")] | None


class CameraState(StrEnum):
    """State of the camera."""

    STARTING = "starting"
    WORKING = "working"
    BLIND = "blind"
    LOST = "lost"


class StageTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Run time of one stage since the last report."""

    runs: Annotated[int, Meta(description="number of runs")]
    median_ms: Annotated[float, Meta(description="median, milliseconds")]
    p95_ms: Annotated[float, Meta(description="95th percentile, milliseconds")]


class LockState(StrEnum):
    """State of the relay of the door."""

    LOCKED = "locked"
    OPEN = "open"
    FAILED = "failed"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Health of the door, published every `[mqtt] health_every_s`."""

    v: Version
    door: DoorName
    at: Annotated[Rfc3339, Meta(description="when the report was made")]
    uptime_s: Annotated[float, Meta(description="seconds since the start")]
    camera: CameraState
    fps: Annotated[float, Meta(description="frames processed per second since the last report")]
    frames: Annotated[int, Meta(description="frames processed since the start")]
    dropped: Annotated[int, Meta(description="frames skipped since the start because a newer one had arrived")]
    stages: Annotated[dict[str, StageTiming], Meta(description="run times by stage; only stages that ran")]
    rejects: Annotated[
        dict[str, dict[str, int]], Meta(description="rejected samples since the start: by stage, by reason")
    ]
    temperature_c: Annotated[float, Meta(description="processor temperature, °C; null: no sensor")] | None
    outbox_depth: Annotated[int, Meta(description="number of events that the broker has not acknowledged")]
    gallery: GalleryRef | None
    models: ModelRefs
    problems: Annotated[tuple[str, ...], Meta(description="current problems, one line each, for people")]
    liveness: Annotated[dict[str, int], Meta(description="outcomes since the start; {}: not required")] = {}
    lock: Annotated[LockState, Meta(description="relay of the door; null: it has none")] | None = None


class ReleaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """The release in use. After a refusal this is still the one that runs."""

    v: Version
    door: DoorName
    release: Annotated[int, Meta(description="number of the release in use; null: none")] | None
    applied_at: Annotated[Rfc3339, Meta(description="since when it is in use")] | None
    ok: Annotated[bool, Meta(description="false: the last release that was offered was refused")]
    reason: Reason
    people: Annotated[int, Meta(description="number of people in the gallery")] | None
    gallery: GalleryRef | None
    models: ModelRefs
    detail: Detail | None = None


class PresenceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether somebody is in front of the door. It names no person and does not open the door."""

    v: Version
    door: DoorName
    at: Annotated[Rfc3339, Meta(description="since when")]
    somebody: Annotated[bool, Meta(description="null: the camera sees nothing")] | None


Record = Event | OpenCommand | Status | Health | ReleaseReport | Challenge | PresenceReport


_TYPES: dict[Channel, type[Record]] = {
    Channel.EVENTS: Event,
    Channel.OPEN: OpenCommand,
    Channel.STATUS: Status,
    Channel.HEALTH: Health,
    Channel.RELEASE: ReleaseReport,
    Channel.CHALLENGE: Challenge,
    Channel.PRESENCE: PresenceReport,
}
_ENCODER = msgspec.json.Encoder()
_DECODERS = {channel: msgspec.json.Decoder(kind) for channel, kind in _TYPES.items()}


def encode(record: Record) -> bytes:
    """Encode a message as UTF-8 JSON."""
    return _ENCODER.encode(record)


def decode(channel: Channel, payload: bytes) -> Record:
    """Decode a message; an unlisted reason, as of another version, becomes `other` with its text as the detail.

    Raises:
        ValueError: not JSON, not this contract, or another version of the contract.
    """
    try:
        return _DECODERS[channel].decode(payload)
    except DECODE_ERRORS as error:
        with contextlib.suppress(*DECODE_ERRORS):
            if (fields := replace_unlisted_reason(payload)) is not None:
                return msgspec.convert(fields, _TYPES[channel])
        raise ValueError(f"not a version {VERSION} message of {channel}: {error}") from error


def schemas() -> dict[Channel, dict[str, Any]]:
    """JSON Schema (2020-12) of each channel."""
    return {channel: msgspec.json.schema(kind) for channel, kind in _TYPES.items()}
