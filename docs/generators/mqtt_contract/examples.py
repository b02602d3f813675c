"""Example messages of a door called front, for the documents and for tests of their schemas."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.core.config import MqttConfig
from edge.core.errors import ExpectationError
from edge.core.reasons import Reason
from edge.core.records import LivenessMode
from edge.core.timestamps import format_unix_ns
from edge.core.uuid7 import uuid7
from edge.events.factory import EventContext, system_event
from edge.events.schema import (
    VERSION,
    BoxPx,
    CameraState,
    Challenge,
    DoorConnection,
    Event,
    EventKind,
    GalleryRef,
    Health,
    Liveness,
    OpenCommand,
    PersonRef,
    PresenceReport,
    Record,
    ReleaseReport,
    StageTiming,
    Status,
    encode,
)
from edge.events.signing import Signer, load_signer
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengeState

AT_NS = 1_795_367_281_135_000_000  # 2026-11-22T17:08:01.135Z
_DOOR = "front"
_ID = str(uuid7(AT_NS // 10**6, 0x11_A5B8_3F1F_0C2B_9E01))
_SEQ = 228_785_735_598_089  # a new event store starts at a number derived from the clock
_ADA = PersonRef(id="ada-lovelace", name="Ada Lovelace")
_GALLERY = GalleryRef(version="73300871f44c168e7c949de2c750e60c2c9bb8ff530017c5a267234e9cb4db8e")
_MODELS = {"detector-far": "5f3b6a0c1d2e", "landmarks": "8e41aa90b7c3", "embedder": "c07d19e2f4a6"}


@dataclass(frozen=True, slots=True)
class Example:
    """A message and its caption."""

    title: str
    record: Record


def examples_of(channel: Channel) -> tuple[Example, ...]:
    """Examples of a channel, at least one.

    Raises:
        ExpectationError: there is none.
    """
    if not EXAMPLES.get(channel):
        raise ExpectationError(f"no example of a message on …/{channel}; add one to {__file__}")
    return EXAMPLES[channel]


@lru_cache(maxsize=1)
def signer_and_key() -> tuple[Signer, str]:
    """Signer of the examples and its public key as PEM. The private key is public, so the key protects nothing."""
    key = Ed25519PrivateKey.from_private_bytes(b"everybody knows this example key")
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        signer = load_signer(MqttConfig(signing_key=str(Path(file.name))))
    return signer, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(channel: Channel) -> bytes:
    """The first example of a channel, signed."""
    signer, _ = signer_and_key()
    return signer(channel, encode(examples_of(channel)[0].record))


def _lost() -> Event:
    door = EventContext(_DOOR, clock_synced=True, gallery_version=_GALLERY.version, models=tuple(_MODELS.items()))
    detail = "/dev/video0: no frame for 5 s"
    event = system_event(EventKind.CAMERA_LOST, Reason.NO_FRAMES, detail, id=_ID, at_ns=AT_NS, door=door)
    return msgspec.structs.replace(event, seq=_SEQ + 1, published_at=format_unix_ns(AT_NS + 9_000_000))


_OPENED = Event(
    v=VERSION,
    id=_ID,
    seq=_SEQ,
    door=_DOOR,
    kind=EventKind.DOOR_OPEN,
    at=format_unix_ns(AT_NS),
    published_at=format_unix_ns(AT_NS + 12_000_000),
    person=_ADA,
    distance_sq=0.3012,
    threshold_sq=0.93,
    runner_up_sq=1.7204,
    samples=3,
    quality=0.871,
    reason=Reason.WITHIN_THRESHOLD,
    rule="doors.front.allow[0]",
    track=17,
    box=BoxPx(left=251, top=118, right=377, bottom=266),
    clock_synced=True,
    gallery=_GALLERY,
    models=_MODELS,
    liveness=Liveness(
        mode=LivenessMode.PASSIVE,
        score=0.003,
        cues={"local-motion": 0.31, "unexplained": 0.012, "mouth": 0.018, "moire": 1.5, "flicker": 0.004},
        challenge="",
    ),
)

EXAMPLES: dict[Channel, tuple[Example, ...]] = {
    Channel.EVENTS: (
        Example("a person is admitted", _OPENED),
        Example("the camera is lost", _lost()),
    ),
    Channel.OPEN: (
        Example(
            "the lock may open within three seconds",
            OpenCommand(
                v=VERSION,
                id=_ID,
                seq=_SEQ,
                door=_DOOR,
                person=_ADA,
                at=format_unix_ns(AT_NS),
                expires_at=format_unix_ns(AT_NS + 3_000_000_000),
            ),
        ),
    ),
    Channel.STATUS: (
        Example(
            "the door is connected",
            Status(
                v=VERSION,
                door=_DOOR,
                status=DoorConnection.ONLINE,
                reason=Reason.CONNECTED,
                since=format_unix_ns(AT_NS),
            ),
        ),
        Example(
            "the broker has lost the connection to the door",
            Status(v=VERSION, door=_DOOR, status=DoorConnection.OFFLINE, reason=Reason.CONNECTION_LOST, since=None),
        ),
    ),
    Channel.HEALTH: (
        Example(
            "a healthy door",
            Health(
                v=VERSION,
                door=_DOOR,
                at=format_unix_ns(AT_NS),
                uptime_s=86_421.3,
                camera=CameraState.WORKING,
                fps=14.9,
                frames=1_287_604,
                dropped=31,
                stages={"detect": StageTiming(runs=149, median_ms=4.812, p95_ms=6.02)},
                rejects={"quality": {"too-small": 52, "turned-away": 17}},
                temperature_c=51.5,
                outbox_depth=0,
                gallery=_GALLERY,
                models=_MODELS,
                problems=(),
                liveness={"shown": 40, "presentation-attack": 1},
                lock=None,
            ),
        ),
    ),
    Channel.RELEASE: (
        Example(
            "a release is in use",
            ReleaseReport(
                v=VERSION,
                door=_DOOR,
                release=12,
                applied_at=format_unix_ns(AT_NS),
                ok=True,
                reason=Reason.RELEASE_APPLIED,
                people=214,
                gallery=_GALLERY,
                models=_MODELS,
                detail="release 12: 214 people",
            ),
        ),
    ),
    Channel.PRESENCE: (
        Example(
            "somebody is in front of the door",
            PresenceReport(v=VERSION, door=_DOOR, at=format_unix_ns(AT_NS), somebody=True),
        ),
    ),
    Channel.CHALLENGE: (
        Example(
            "the visitor is asked to turn the head",
            Challenge(
                v=VERSION,
                door=_DOOR,
                id=_ID,
                at=format_unix_ns(AT_NS),
                expires_at=format_unix_ns(AT_NS + 6_000_000_000),
                ask=ChallengeMovement.TURN_LEFT,
                state=ChallengeState.ASKED,
                step=1,
                steps=2,
                reason=ChallengeFailure.NONE,
            ),
        ),
    ),
}
