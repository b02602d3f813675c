"""Release status of a site: which release each door has reported to the broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.core.config import MqttConfig
from edge.core.errors import DECODE_ERRORS, BrokerRefusedError, ReleaseError
from edge.events.reasons import reason_sentence
from edge.events.schema import DoorConnection, ReleaseReport, Status
from edge.events.topics import DELIVERY_TERMS, Channel, Topics
from edge.mqtt.connection import connect
from edge.mqtt.subscriber import Message, Subscriber
from edge.updates.release_format import TIMESTAMP
from threshold_tools.release.repository import RELEASE_FIELD
from threshold_tools.release.signatures import SignatureState, signature_of
from threshold_tools.release.transport import fetch, send

QUIET_S = 1.0  # without a further retained message: the broker has sent all that it keeps
LOOK_S = 0.2
_PAUSE_S = 0.4  # the same, where a missing report costs no more than a warning
_REPORTS = (Channel.RELEASE, Channel.STATUS)


class DoorState(msgspec.Struct, frozen=True):
    """One door, as `threshold sync status` shows it.

    Attributes:
        ok: whether it runs the newest release that we know of, by a report that is signed where its key is known.
        signature: of its release report; None: there is no report.
    """

    door: str
    release: int | None
    applied_at: str | None
    ok: bool
    reason: str
    online: bool | None = None
    signature: SignatureState | None = None


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """The doors of a site and the release that they should run.

    Attributes:
        newest: number of the release; None: unknown, because the broker holds none.
        doors: every door that is known: those that have reported anything, and those that were expected.
        heard: how many of them have reported anything.
    """

    newest: int | None
    doors: tuple[DoorState, ...]
    reporting: int

    @property
    def complete(self) -> bool:
        """Whether there is a door, and every door runs the newest release."""
        return bool(self.doors) and all(door.ok for door in self.doors)


def status(
    mqtt: MqttConfig,
    site: str,
    newest: int | None,
    wait_s: float = 0.0,
    expected: Collection[str] = (),
    keys: Mapping[str, Ed25519PublicKey] | None = None,
) -> SiteStatus:
    """Ask the broker what the doors have reported; returns when it has sent all that it keeps.

    Args:
        mqtt: the broker.
        site: whose doors.
        newest: the release that should run; None takes the broker's word for it, unverified.
        wait_s: wait this long until all doors run it.
        expected: doors that must be there, whether or not they have ever reported.
        keys: of doors that sign, by name; None: no signature is checked.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    newest = _published_release(mqtt, site) if newest is None else newest
    # QoS 0: with QoS 1 a broker keeps its queue's length of retained messages for a subscriber and drops the rest.
    with Subscriber(mqtt, Topics(site, "+"), _REPORTS, qos=0) as subscriber:
        reports = SiteReports(newest, expected, wait_s, time.monotonic(), keys)
        while not reports.is_complete(time.monotonic()):
            for message in subscriber.messages(timeout_s=LOOK_S):
                reports.update(message, time.monotonic())
    return reports.site()


class SiteReports:
    """Collects the reports of a site's doors, and decides when they are complete; times are arguments.

    Args:
        newest: number of the release that should run; None: unknown.
        expected: doors that must be there.
        wait_s: wait this long until all doors run it.
        now_s: monotonic time when listening begins.
        keys: of doors that sign, by name; None: no signature is checked.
    """

    def __init__(
        self,
        newest: int | None,
        expected: Collection[str],
        wait_s: float,
        now_s: float,
        keys: Mapping[str, Ed25519PublicKey] | None = None,
    ) -> None:
        self._keys = keys or {}
        self._newest = newest
        self._expected = set(expected)
        self._end_s = now_s + wait_s
        self._progress_s = now_s
        self._reporting: set[str] = set()
        self._reports: dict[str, ReleaseReport] = {}
        self._signatures: dict[str, SignatureState] = {}
        self._presences: dict[str, Status] = {}

    def update(self, message: Message, now_s: float) -> None:
        """Take a message into account. A retained one is progress: the broker is still sending what it keeps."""
        door = message.door.door
        if message.retained:
            self._progress_s = now_s
        if message.payload:
            self._reporting.add(door)
        if isinstance(message.record, ReleaseReport):
            self._reports[door] = message.record
            self._signatures[door] = signature_of(door, message.payload, self._keys)
        elif isinstance(message.record, Status):
            self._presences[door] = message.record

    def is_complete(self, now_s: float) -> bool:
        """Whether no retained message has come for a while, and all doors are up to date or the wait has ended."""
        if now_s - self._progress_s < QUIET_S:
            return False
        return now_s >= self._end_s or self.site().complete

    def site(self) -> SiteStatus:
        """All doors that are known, with their latest reports."""
        doors = tuple(self._state(door) for door in sorted(self._reporting | self._expected))
        return SiteStatus(self._newest, doors, len(self._reporting))

    def _state(self, door: str) -> DoorState:
        presence, report = self._presences.get(door), self._reports.get(door)
        online = None if presence is None else presence.status is DoorConnection.ONLINE
        if report is None:
            reason = "has sent no release report that can be read" if door in self._reporting else "has never reported"
            return DoorState(door, None, None, False, reason, online)
        ok, reason = report.ok, report.detail or reason_sentence(report.reason)
        if ok and self._newest is not None and report.release != self._newest:
            ok, reason = False, f"has not reported release {self._newest} yet"
        signature = self._signatures[door]
        if door in self._keys and signature is not SignatureState.VERIFIED:
            ok, reason = False, "its report is not signed by this door; it cannot be trusted"
        return DoorState(door, report.release, report.applied_at, ok, reason, online, signature)


def reporting_doors(mqtt: MqttConfig, site: str) -> frozenset[str]:
    """The names of the doors of a site that have reported, as far as the broker keeps their reports.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    return frozenset(message.door.door for message in _retained_reports(mqtt, Topics(site, "+")))


def forget_door(mqtt: MqttConfig, site: str, door: str) -> None:
    """Clear everything that the broker keeps of a door that is no longer there.

    Raises:
        ReleaseError: the door has never reported, or it is online, so that it would report again.
        BrokerRefused: the broker does not let this login write the door's topics.
        BrokerError: the broker cannot be reached.
    """
    topics = Topics(site, door)
    if set(door) & set("+#/") or not (kept := _retained_reports(mqtt, topics)):
        raise ReleaseError(f"site '{site}': door '{door}' has never reported; see  threshold sync status")
    if any(isinstance(each.record, Status) and each.record.status is DoorConnection.ONLINE for each in kept):
        raise ReleaseError(f"site '{site}': door '{door}' is online; stop it first, or it reports again")
    connection, _ = connect(mqtt, client_id=f"threshold-sync-{uuid.uuid4().hex[:12]}")
    try:
        channels = [channel for channel, delivery in DELIVERY_TERMS.items() if delivery.retained]
        send(connection, [(topics.topic_for(channel), b"") for channel in channels])
        connection.close()
    except BaseException:
        connection.abort()
        raise
    if _retained_reports(mqtt, topics):
        raise BrokerRefusedError(
            f"{mqtt.url}: still keeps what door '{door}' has reported; this login must be allowed to write "
            f"threshold/{site}/{door}/+"
        )


def _retained_reports(mqtt: MqttConfig, doors: Topics) -> list[Message]:
    """The reports that the broker keeps; returns when it has sent them all."""
    kept: list[Message] = []
    with Subscriber(mqtt, doors, _REPORTS, qos=0) as subscriber:
        before = -1
        while len(kept) > before:
            before = len(kept)
            kept += [message for message in subscriber.messages(timeout_s=_PAUSE_S) if message.retained]
    return kept


class _SignedEnvelope(msgspec.Struct):
    release: int | None = msgspec.field(name=RELEASE_FIELD, default=None)


class _Timestamp(msgspec.Struct):
    signed: _SignedEnvelope


def _published_release(mqtt: MqttConfig, site: str) -> int | None:
    """The number of the release on the broker, by its unverified timestamp."""
    content = fetch(mqtt, site, TIMESTAMP)
    try:
        return msgspec.json.decode(content, type=_Timestamp).signed.release if content else None
    except DECODE_ERRORS:
        return None
