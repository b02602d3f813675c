"""Release status of a site: which release each door has reported to the broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping
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

QUIET_S = 1.0  # without another retained message: the broker has sent all of them
LOOK_S = 0.2
_PAUSE_S = 0.4  # same, where a missing report only causes a warning
_REPORTS = (Channel.RELEASE, Channel.STATUS)


class DoorState(msgspec.Struct, frozen=True):
    """One door, as `threshold sync status` shows it.

    Attributes:
        ok: whether it runs the newest release, by a report that is signed if its key is known.
        signature: state of the signature of its release report; None: there is no report.
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
        newest: number of the release; None: unknown, because the broker has none.
        doors: doors that have reported anything, and doors that were expected.
        reporting: number of doors that have reported anything.
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
    on_progress: Callable[[SiteStatus], None] = lambda _: None,
) -> SiteStatus:
    """Read the reports of the doors from the broker; returns when it has sent all retained messages.

    Args:
        mqtt: broker.
        site: site of the doors.
        newest: release that should run; None: that on the broker, unverified.
        wait_s: wait this long until all doors run it.
        expected: doors that must be up to date, even if they have never reported.
        keys: public keys of doors that sign, by name; None: no signature is checked.
        on_progress: called with the present state several times a second.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    newest = _published_release(mqtt, site) if newest is None else newest
    # QoS 0: with QoS 1 a broker drops the retained messages that exceed its queue for a subscriber.
    with Subscriber(mqtt, Topics(site, "+"), _REPORTS, qos=0) as subscriber:
        reports = SiteReports(newest, expected, wait_s, time.monotonic(), keys)
        while not reports.is_complete(time.monotonic()):
            for message in subscriber.messages(timeout_s=LOOK_S):
                reports.update(message, time.monotonic())
            on_progress(reports.site())
    return reports.site()


class SiteReports:
    """Collects the reports of the doors of a site, and decides when they are complete; times are arguments.

    Args:
        newest: number of the release that should run; None: unknown.
        expected: doors that must be up to date.
        wait_s: wait this long until all doors run it.
        now_s: monotonic time of the start.
        keys: public keys of doors that sign, by name; None: no signature is checked.
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
        """Process a message. A retained one is progress: the broker is still sending retained messages."""
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
        """Whether retained messages have stopped, and all doors are up to date or the wait has ended."""
        if now_s - self._progress_s < QUIET_S:
            return False
        return now_s >= self._end_s or self.site().complete

    def site(self) -> SiteStatus:
        """All known doors, with their latest reports."""
        doors = tuple(self._state(door) for door in sorted(self._reporting | self._expected))
        return SiteStatus(self._newest, doors, len(self._reporting))

    def _state(self, door: str) -> DoorState:
        presence, report = self._presences.get(door), self._reports.get(door)
        online = None if presence is None else presence.status is DoorConnection.ONLINE
        if report is None:
            reason = "has sent no readable release report" if door in self._reporting else "has never reported"
            return DoorState(door, None, None, False, reason, online)
        ok, reason = report.ok, report.detail or reason_sentence(report.reason)
        if ok and self._newest is not None and report.release != self._newest:
            ok, reason = False, f"has not reported release {self._newest} yet"
        signature = self._signatures[door]
        if door in self._keys and signature is not SignatureState.VERIFIED:
            ok, reason = False, "its report is not signed by this door: do not trust it"
        return DoorState(door, report.release, report.applied_at, ok, reason, online, signature)


def reporting_doors(mqtt: MqttConfig, site: str) -> frozenset[str]:
    """The names of the doors of a site with retained reports on the broker.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    return frozenset(message.door.door for message in _retained_reports(mqtt, Topics(site, "+")))


def forget_door(mqtt: MqttConfig, site: str, door: str) -> None:
    """Delete the retained messages of a retired door from the broker.

    Raises:
        ReleaseError: the door has never reported, or it is online, so that it would report again.
        BrokerRefusedError: this login may not write to the topics of the door.
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
            f"{mqtt.url}: still retains the reports of door '{door}'; allow this login to write to "
            f"threshold/{site}/{door}/+"
        )


def _retained_reports(mqtt: MqttConfig, doors: Topics) -> list[Message]:
    """The reports that the broker retains; returns when it has sent all of them."""
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
