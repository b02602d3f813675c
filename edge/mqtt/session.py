"""What the door says over one connection, from its first status to its last: openings, then events, then health."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError, OutboxError
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, DoorConnection, Event, OpenCommand, Record, Status, encode
from edge.events.signing import Signer
from edge.events.snapshot import Snapshot
from edge.events.topics import DELIVERY_TERMS, SNAPSHOT_DELIVERY, Channel, DeliveryTerms, Topics
from edge.mqtt.connection import Connection
from edge.mqtt.homeassistant_birth import HomeAssistantBirthListener
from edge.mqtt.in_flight import InFlightMessages, PendingOpen
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.send_queue import SendQueue
from edge.mqtt.wakeup_pipe import WakeupPipe
from edge.outbox.outbox import Outbox

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 20  # events under way at once
RESERVED_IN_FLIGHT = 4  # of the messages that the broker lets us have under way, kept free for openings and status
IDLE_S = 1.0  # the longest nap while connected; keep-alive is looked after at each waking
ACK_GRACE_NS = 1_000_000_000  # an opening sent just before it expires may still be acknowledged for so long
OFFLINE_TIMEOUT_NS = 1_000_000_000  # of the time for closing, kept for saying offline
NS = 1_000_000_000


class SessionStopped(Exception):
    """The goodbye has been said, or the time for it is over."""


@dataclass(slots=True)
class DeliveryProgress:
    """What outlives a connection."""

    delivered_seq: int = 0  # the broker has everything up to here, even if the outbox could not store that
    stop_deadline_ns: int | None = None  # monotonic: be gone by then
    unheard: bool = False  # the last opening that the broker took reached nobody


@dataclass(frozen=True, slots=True)
class MessageBuilder:
    """What every session of a door works with.

    Attributes:
        config: the broker.
        topics: of the door.
        outbox: where events come from.
        desk: what else is to be said.
        progress: how far we are.
        on_open_expired: told of an opening that did not surely arrive in time, and why.
        on_open_unheard: told of an opening that the broker took and nobody subscribes to.
        birth: of Home Assistant, to be answered.
        seal: what every payload goes through just before it is published.
        wall_ns: the wall clock, nanoseconds since 1970 UTC.
        monotonic_ns: the clock of capture times.
    """

    config: MqttConfig
    topics: Topics
    outbox: Outbox
    desk: SendQueue
    progress: DeliveryProgress
    on_open_expired: Callable[[OpenCommand, str], None]
    on_open_unheard: Callable[[OpenCommand], None]
    birth: HomeAssistantBirthListener
    seal: Signer
    wall_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]

    def build(self, channel: Channel, record: Record, expires_ns: int | None = None) -> OutgoingMessage:
        """A record on its channel's terms, sealed; `expires_ns` is monotonic, None: the broker may keep it back."""
        payload = self.seal(channel, encode(record))
        return self._message(DELIVERY_TERMS[channel], self.topics.topic_for(channel), payload, expires_ns)

    def build_snapshot(self, snapshot: Snapshot) -> OutgoingMessage:
        """The picture of an event."""
        topic = self.topics.snapshot(snapshot.event_id)
        return self._message(SNAPSHOT_DELIVERY, topic, snapshot.jpeg, snapshot.expires_ns)

    def _message(self, terms: DeliveryTerms, topic: str, payload: bytes, expires_ns: int | None) -> OutgoingMessage:
        expiry_s = None if expires_ns is None else max((expires_ns - self.monotonic_ns()) // NS, 1)
        return OutgoingMessage(topic, payload, terms.qos, terms.retained, expiry_s)

    def status(self, status: DoorConnection, reason: str, *, since: int | None) -> OutgoingMessage:
        """The door's status, also as its last will; `since` is None when only the broker will know."""
        since_text = None if since is None else format_unix_ns(since)
        record = Status(v=VERSION, door=self.topics.door, status=status, reason=reason, since=since_text)
        return self.build(Channel.STATUS, record)

    def report_expired(self, opening: PendingOpen, reason: str) -> None:
        """Report that an opening was given up."""
        try:
            self.on_open_expired(opening.message, reason)
        except OutboxError as error:
            log.debug("%s", error)  # the outbox has said so itself

    def arrived(self, opening: PendingOpen, *, unheard: bool) -> None:
        """The broker has taken an opening; report it if nobody was there to hear it."""
        self.progress.unheard = unheard
        if unheard:
            self.on_open_unheard(opening.message)

    def expire_stale(self) -> None:
        """Give up the openings that grew too old while waiting for room."""
        for opening in self.desk.pop_expired(self.monotonic_ns()):
            self.report_expired(opening, self._stale_reason())

    def _stale_reason(self) -> str:
        return f"older than {self.config.open_max_age_s:g} s before it could be sent"


class Session:
    """One connection in use. An opening is sent at most once and in time, or never; see `Publisher`."""

    def __init__(self, connection: Connection, voice: MessageBuilder) -> None:
        self._connection = connection
        self._voice = voice
        self._flight = InFlightMessages()

    def announce_online(self) -> None:
        """Say online, before anything else.

        Raises:
            BrokerError: the connection has ended.
        """
        online = self._voice.status(DoorConnection.ONLINE, "connected", since=self._voice.wall_ns())
        self._flight.add_untracked(self._connection.publish(online))
        self._voice.desk.requeue_retained()
        self._voice.birth.listen(self._connection)

    def run(self, waker: WakeupPipe) -> None:
        """Send what there is until the connection ends or we are to stop.

        Raises:
            BrokerError: it has ended.
            Stopped: we have.
        """
        while not self._should_stop():
            self._send()
            self._connection.poll(self._poll_timeout_s(), waker)
            self._handle_acks()
        self._announce_offline()

    def abort(self) -> None:
        """Cut the connection; what it left hanging is given up."""
        self._connection.abort()
        for opening in self._flight.openings():
            self._voice.report_expired(opening, "the connection broke before the broker had acknowledged it")

    def _send(self) -> None:
        """Hand over what may be sent now: events as far as the window allows, then openings, then the rest.

        Where the broker allows so few messages under way that events would take all places, one place is left for an
        opening that waits.
        """
        voice, connection, flight = self._voice, self._connection, self._flight
        voice.expire_stale()
        room = min(MAX_IN_FLIGHT - flight.events, self._places() - len(flight))
        if voice.desk.has_pending_open():
            room = min(room, connection.receive_max - 1 - len(flight))
        for event in self._pending(max(flight.sent_seq, voice.progress.delivered_seq), room):
            copy = msgspec.structs.replace(event, published_at=format_unix_ns(voice.wall_ns()))
            number = connection.publish(voice.build(Channel.EVENTS, copy))
            flight.add_event(number, event.seq)
        while len(flight) < connection.receive_max and (opening := voice.desk.next_opening()) is not None:
            self._send_opening(opening)
        while len(flight) < connection.receive_max and (asked := voice.desk.take_challenge(voice.monotonic_ns())):
            message, expires_ns = asked
            flight.add_untracked(connection.publish(voice.build(Channel.CHALLENGE, message, expires_ns)))
        self._send_snapshots()
        if voice.birth.pop_due(voice.monotonic_ns()):
            voice.desk.requeue_retained()
        while len(flight) < connection.receive_max and (standing := voice.desk.take_standing()) is not None:
            flight.add_untracked(connection.publish(standing))
        if (report := voice.desk.take_health()) is not None and not connection.is_congested():
            connection.publish(voice.build(Channel.HEALTH, report))

    def _places(self) -> int:
        """How many messages may be under way without filling those kept for openings and status."""
        return max(self._connection.receive_max - RESERVED_IN_FLIGHT, 1)

    def _send_opening(self, opening: PendingOpen) -> None:
        """Send it behind a ping.

        A broker that was frozen and finds the connection cut stops at the ping, which it cannot answer, and does not
        pass on the opening behind it.
        """
        voice = self._voice
        message = voice.build(Channel.OPEN, opening.message, opening.expires_ns)
        if opening.expires_ns <= voice.monotonic_ns():  # after the signature, which takes time
            voice.report_expired(opening, voice._stale_reason())
            return
        self._connection.ping()
        try:
            number = self._connection.publish(message)
        except BrokerError:
            voice.report_expired(opening, "the connection broke while it was sent")
            raise
        self._flight.add_opening(number, opening)

    def _send_snapshots(self) -> None:
        """Pictures, each after its event, and while the network takes them: nothing else shall wait for them."""
        voice, connection, flight = self._voice, self._connection, self._flight
        while len(flight) < self._places() and not connection.is_congested():
            sent_seq = max(flight.sent_seq, voice.progress.delivered_seq)
            snapshot = voice.desk.take_snapshot(sent_seq, voice.monotonic_ns())
            if snapshot is None:
                return
            flight.add_untracked(connection.publish(voice.build_snapshot(snapshot)))

    def _pending(self, after_seq: int, room: int) -> list[Event]:
        """The next events; none while the outbox cannot be read, for openings must go on."""
        if room <= 0:
            return []
        try:
            return self._voice.outbox.pending(after_seq, room)
        except OutboxError as error:
            log.debug("%s", error)  # the outbox has said so itself
            return []

    def _handle_acks(self) -> None:
        """Take in what the broker has acknowledged; give up on it if it refuses events or leaves an opening hanging."""
        url, topics = self._voice.config.url, self._voice.topics
        self._voice.birth.on_message(self._connection.messages(), self._voice.monotonic_ns())
        for receipt in self._connection.take_acks():
            landing = self._flight.acknowledge(receipt)
            if landing is None:
                continue
            if not landing.refusal:
                if landing.opening is not None:
                    self._voice.arrived(landing.opening, unheard=landing.unheard)
                continue
            if landing.event_seq is not None:
                self._acknowledge(self._flight.delivered_up_to())
                raise BrokerRefusedError(
                    f"{url}: does not take our events ({landing.refusal}); "
                    f"check that its access rules let this door write to {topics.topic_for(Channel.EVENTS)}"
                )
            log.warning("%s: refuses our message (%s); check its access rules", url, landing.refusal)
            if landing.opening is not None:
                self._voice.report_expired(landing.opening, f"refused by the broker ({landing.refusal})")
        self._acknowledge(self._flight.delivered_up_to())
        latest_ns = self._voice.monotonic_ns() - ACK_GRACE_NS
        if any(opening.expires_ns < latest_ns for opening in self._flight.openings()):
            raise BrokerError(f"{url}: an opening was not acknowledged in time, so the connection was cut")

    def _acknowledge(self, seq: int) -> None:
        if seq <= self._voice.progress.delivered_seq:
            return
        self._voice.progress.delivered_seq = seq
        try:
            self._voice.outbox.acknowledge(seq)
        except OutboxError as error:
            log.debug("%s", error)  # the outbox has said so itself, and stores it later

    def _poll_timeout_s(self) -> float:
        """How long nothing needs doing unless somebody wakes us."""
        now_ns, stop_ns = self._voice.monotonic_ns(), self._voice.progress.stop_deadline_ns
        ends_ns = [opening.expires_ns + ACK_GRACE_NS - now_ns for opening in self._flight.openings()]
        if stop_ns is not None:
            ends_ns.append(stop_ns - OFFLINE_TIMEOUT_NS - time.monotonic_ns())
        if (birth_ns := self._voice.birth.due_in_ns(now_ns)) is not None:
            ends_ns.append(birth_ns)
        return max(min([IDLE_S, *(end_ns / NS for end_ns in ends_ns)]), 0.001)

    def _should_stop(self) -> bool:
        """Whether we are to stop, and everything is said or there is no time for it."""
        stop_ns = self._voice.progress.stop_deadline_ns
        if stop_ns is None:
            return False
        said = self._voice.desk.is_empty() and not len(self._flight) and self._voice.outbox.depth() == 0
        return said or time.monotonic_ns() > stop_ns - OFFLINE_TIMEOUT_NS

    def _announce_offline(self) -> None:
        """Say offline, wait for the broker to have it, and disconnect."""
        stop_ns = self._voice.progress.stop_deadline_ns
        assert stop_ns is not None
        number = self._connection.publish(
            self._voice.status(DoorConnection.OFFLINE, "stopped", since=self._voice.wall_ns())
        )
        heard = False
        while not heard and (left_ns := stop_ns - time.monotonic_ns()) > 0:
            self._connection.poll(left_ns / NS)
            heard = any(receipt.packet_id == number for receipt in self._connection.take_acks())
        self._connection.close()
        raise SessionStopped
