"""The wire contract, version 1: what goes out over MQTT, as types; `edge.events.topics` has where it goes.

Every field is always present; one that makes no sense for a record is null, so that a consumer never has to ask
whether a key exists. A field added later gets a default here, so that events stored by an older version stay
readable; consumers ignore keys that they do not know. No record holds pixels or embeddings; a door that is told to
publishes the face of an event beside it, a JPEG file on `…/snapshot/<event id>`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.core.errors import DECODE_ERRORS
from edge.core.records import AccessOutcome, LivenessMode
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeMovement, ChallengeState

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
EventId = Annotated[str, Meta(description="UUIDv7: the same for every copy of one event, so the key to drop copies by")]
DoorName = Annotated[str, Meta(description="name of the door, as in its door.toml")]
ModelRefs = Annotated[dict[str, str], Meta(description="job to the first digits of the model's sha256")]
PixelCount = Annotated[int, Meta(description="pixels")]
SequenceNumber = Annotated[
    int, Meta(ge=0, description="rises strictly per door, survives restarts; a gap is no loss by itself")
]
_SQUARED = "squared distance, 0..4, from the face to"


class EventKind(StrEnum):
    """What an event reports: the answer to a visitor (the first three), or a system event of the door."""

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
    """Somebody enrolled."""

    id: Annotated[str, Meta(description="for machines and rules")]
    name: Annotated[str, Meta(description="for people")]


class BoxPx(msgspec.Struct, frozen=True, kw_only=True):
    """The face in frame pixels, origin at the top left, whole pixels; it may reach beyond the frame."""

    left: PixelCount
    top: PixelCount
    right: PixelCount
    bottom: PixelCount


class GalleryRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which gallery answered."""

    version: Annotated[str, Meta(description="sha256 of the gallery, hexadecimal")]


class Liveness(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor has shown of being more than a picture, where the door asks for that."""

    mode: Annotated[LivenessMode, Meta(description="what was asked for")]
    score: Annotated[float, Meta(ge=0, le=1, description="0 genuine, 1 attack; null: not watched long enough")] | None
    cues: Annotated[dict[str, float], Meta(description="what the score was made of, as measured")]
    challenge: Annotated[str, Meta(description='"passed", why it failed, or "" where none was asked')]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One access or system event, delivered at least once and in the order of `seq` on `…/events`."""

    v: Version
    id: EventId
    seq: SequenceNumber
    door: DoorName
    kind: EventKind
    at: Annotated[Rfc3339, Meta(description="when it happened; for an access event the capture of the frame")]
    published_at: Annotated[Rfc3339, Meta(description="when this copy was sent")] | None
    person: Annotated[PersonRef, Meta(description="who was identified; null for anybody unknown")] | None
    distance_sq: Annotated[float, Meta(description=f"{_SQUARED} the nearest person enrolled: lower is nearer")] | None
    threshold_sq: Annotated[float, Meta(description="the most that `distance_sq` may be: lower is stricter")] | None
    runner_up_sq: Annotated[float, Meta(description=f"{_SQUARED} the second nearest person: lower is nearer")] | None
    samples: Annotated[int, Meta(description="looks at the face that were fused")] | None
    quality: Annotated[float, Meta(ge=0, le=1, description="mean quality of those looks")] | None
    reason: Annotated[str, Meta(description="why: a code for `door-open`, `denied`, `unknown`, else a few words")]
    rule: Annotated[str, Meta(description="the access rule that decided")] | None
    track: Annotated[int, Meta(description="number of the visitor's track, from 1 since the start")] | None
    box: BoxPx | None
    clock_synced: Annotated[bool, Meta(description="whether the door's clock was set by a time server")]
    gallery: GalleryRef | None
    models: ModelRefs
    dropped: Annotated[int, Meta(description="events-dropped only: how many never reached the broker")] | None = None
    liveness: Annotated[Liveness, Meta(description="null where the door did not ask")] | None = None


class OpenCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The act of opening, on `…/open`. Whoever drives a lock ignores one that is older than `expires_at`.

    The door never sends one late, but a broker may hold one back for a subscriber that was away (over MQTT 3.1.1
    there is no message expiry), so the receiver checks too.
    """

    v: Version
    id: EventId
    seq: SequenceNumber
    door: DoorName
    person: PersonRef
    at: Annotated[Rfc3339, Meta(description="capture of the frame that decided")]
    expires_at: Annotated[Rfc3339, Meta(description="whoever gets this later does not open")]


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor is asked to do, on `…/challenge`, for a screen or a speaker; it opens nothing."""

    v: Version
    door: DoorName
    id: Annotated[str, Meta(description="UUIDv7: the same for all messages of one challenge")]
    at: Annotated[Rfc3339, Meta(description="when it was asked, or ended")]
    expires_at: Annotated[Rfc3339, Meta(description="by when the movement has to be made; at the end as `at`")]
    ask: (
        Annotated[ChallengeMovement, Meta(description="left and right are the visitor's own; null: none was asked yet")]
        | None
    )
    state: ChallengeState
    step: Annotated[int, Meta(ge=0, description="which movement of `steps`, from 1")]
    steps: Annotated[int, Meta(ge=1, description="movements in a row")]
    reason: Annotated[str, Meta(description='why it failed, or ""')]


class DoorConnection(StrEnum):
    """Whether a door is connected."""

    ONLINE = "online"
    OFFLINE = "offline"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the door is connected, retained on `…/status`; the broker itself sends the offline one if it vanishes."""

    v: Version
    door: DoorName
    status: DoorConnection
    reason: Annotated[str, Meta(description="why, in a few words")]
    since: Annotated[Rfc3339, Meta(description="null when the broker noticed: only it knows when")] | None


class CameraState(StrEnum):
    """What the camera is doing."""

    STARTING = "starting"
    WORKING = "working"
    BLIND = "blind"
    LOST = "lost"


class StageTiming(msgspec.Struct, frozen=True, kw_only=True):
    """How long one stage took since the last report, milliseconds."""

    runs: Annotated[int, Meta(description="how often")]
    median_ms: Annotated[float, Meta(description="of those runs")]
    p95_ms: Annotated[float, Meta(description="95th percentile")]


class LockState(StrEnum):
    """How the door's own relay stands."""

    LOCKED = "locked"
    OPEN = "open"
    FAILED = "failed"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the door is doing, retained on `…/health`."""

    v: Version
    door: DoorName
    at: Annotated[Rfc3339, Meta(description="when it was measured")]
    uptime_s: Annotated[float, Meta(description="since the start")]
    camera: CameraState
    fps: Annotated[float, Meta(description="frames really processed in a second, since the last report")]
    frames: Annotated[int, Meta(description="processed since the start")]
    dropped: Annotated[int, Meta(description="frames skipped since the start because a newer one was there")]
    stages: Annotated[dict[str, StageTiming], Meta(description="by stage; only those that ran")]
    rejects: Annotated[dict[str, dict[str, int]], Meta(description="stage to reason to count, since the start")]
    temperature_c: Annotated[float, Meta(description="of the processor; null: no sensor")] | None
    outbox_depth: Annotated[int, Meta(description="events that the broker has not acknowledged")]
    gallery: GalleryRef | None
    models: ModelRefs
    problems: Annotated[tuple[str, ...], Meta(description="what somebody should look at, one line each")]
    liveness: Annotated[dict[str, int], Meta(description="outcome to count, since the start; {} where not asked")] = {}
    lock: Annotated[LockState, Meta(description="null: the door has no relay of its own")] | None = None


class ReleaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """Which release the door runs, retained on `…/release`; after a refusal it still names the one that runs."""

    v: Version
    door: DoorName
    release: Annotated[int, Meta(description="number of the release that runs")] | None
    applied_at: Annotated[Rfc3339, Meta(description="when it began to run")] | None
    ok: Annotated[bool, Meta(description="whether the last one offered was applied, or was the same")]
    reason: Annotated[str, Meta(description="what was applied, or why the last one offered was refused")]
    people: Annotated[int, Meta(description="how many the gallery in use holds")] | None
    gallery: GalleryRef | None
    models: ModelRefs


class PresenceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether somebody stands at the door, retained on `…/presence`; it names nobody and opens nothing."""

    v: Version
    door: DoorName
    at: Annotated[Rfc3339, Meta(description="since when")]
    somebody: Annotated[bool, Meta(description="null: the camera does not see")] | None


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
    """UTF-8 JSON."""
    return _ENCODER.encode(record)


def decode(channel: Channel, payload: bytes) -> Record:
    """The record that was published on a channel.

    Raises:
        ValueError: not JSON, not this contract, or another version of it.
    """
    try:
        return _DECODERS[channel].decode(payload)
    except DECODE_ERRORS as error:
        raise ValueError(f"not a version {VERSION} message of {channel}: {error}") from error


def schemas() -> dict[Channel, dict[str, Any]]:
    """The JSON Schema (2020-12) of what each channel carries."""
    return {channel: msgspec.json.schema(kind) for channel, kind in _TYPES.items()}
