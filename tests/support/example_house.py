"""A door with every Home Assistant entity, and one example of each message."""

from __future__ import annotations

import msgspec

from edge.core.config import DoorConfig, HomeAssistantConfig, LockConfig, ReleaseConfig, SnapshotsConfig
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.events.reasons import REASONS_BY_KIND
from edge.events.schema import (
    ACCESS_KINDS,
    VERSION,
    CameraState,
    DoorConnection,
    Event,
    EventKind,
    GalleryRef,
    Health,
    LockState,
    PersonRef,
    PresenceReport,
    Record,
    ReleaseReport,
    StageTiming,
    Status,
)
from edge.events.topics import Channel, Topics
from support.mqtt_brokers import T0_NS, an_event

FRONT = DoorConfig(
    site="home",
    door="front",
    home_assistant=HomeAssistantConfig(),
    release=ReleaseConfig(),
    lock=LockConfig(pin=17),
    snapshots=SnapshotsConfig(kinds=("unknown",)),
)
BARE = DoorConfig(site="home", door="front", home_assistant=HomeAssistantConfig())
TOPICS = Topics("home", "front")
ANNA = PersonRef(id="anna", name='Änna "the <Boss>"')
HEALTH = Health(
    v=VERSION,
    door="front",
    at=format_unix_ns(T0_NS),
    uptime_s=1.5,
    camera=CameraState.WORKING,
    fps=14.9,
    frames=100,
    dropped=2,
    stages={"detect": StageTiming(runs=30, median_ms=1.4, p95_ms=2.0)},
    rejects={"quality": {"too small": 3}},
    temperature_c=51.5,
    outbox_depth=3,
    gallery=GalleryRef(version="7"),
    models={},
    problems=("the clock is not set",),
    lock=LockState.LOCKED,
)
RELEASE = ReleaseReport(
    v=VERSION,
    door="front",
    release=12,
    applied_at=format_unix_ns(T0_NS),
    ok=True,
    reason=Reason.RELEASE_APPLIED,
    people=40,
    gallery=GalleryRef(version="7"),
    models={},
    detail="release 12: 40 people",
)


def an_event_of(kind: EventKind, person: PersonRef | None = None, detail: str = "because") -> Event:
    """A small event of a kind, with a new id."""
    return msgspec.structs.replace(an_event(detail), kind=kind, person=person, reason=REASONS_BY_KIND[kind][0])


def a_status(status: DoorConnection) -> Status:
    return Status(v=VERSION, door="front", status=status, reason=Reason.CONNECTED, since=None)


def an_occupancy(somebody: bool | None) -> PresenceReport:
    return PresenceReport(v=VERSION, door="front", at=format_unix_ns(T0_NS), somebody=somebody)


def examples() -> list[tuple[Channel, Record]]:
    """Return every kind of event, with and without a person, and every report with and without optional values."""
    nothing = msgspec.structs.replace(HEALTH, temperature_c=None, gallery=None, problems=(), lock=None)
    none_yet = msgspec.structs.replace(RELEASE, release=None, applied_at=None, ok=False, people=None, gallery=None)
    return [
        *((Channel.EVENTS, an_event_of(kind)) for kind in EventKind),
        *((Channel.EVENTS, an_event_of(kind, ANNA)) for kind in sorted(ACCESS_KINDS)),
        *((Channel.STATUS, a_status(status)) for status in DoorConnection),
        *((Channel.PRESENCE, an_occupancy(somebody)) for somebody in (True, False, None)),
        *((Channel.HEALTH, msgspec.structs.replace(HEALTH, camera=camera)) for camera in CameraState),
        *((Channel.HEALTH, msgspec.structs.replace(HEALTH, lock=lock)) for lock in LockState),
        (Channel.HEALTH, nothing),
        (Channel.RELEASE, RELEASE),
        (
            Channel.RELEASE,
            msgspec.structs.replace(
                RELEASE, ok=False, reason=Reason.RELEASE_NOT_VERIFIED, detail="release 13: damaged " * 40
            ),
        ),
        (Channel.RELEASE, none_yet),
    ]
