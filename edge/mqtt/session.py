"""Publishes over one connection: events, open commands, challenges, snapshots, retained reports and health."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from edge.core.clock import Clock
from edge.core.errors import BrokerError, BrokerRefusedError, OutboxError
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.factory import make_status
from edge.events.homeassistant import HomeAssistantBirthListener
from edge.events.schema import DoorConnection, Event, OpenCommand, Record, encode
from edge.events.signing import Signer
from edge.events.topics import DELIVERY_TERMS, SNAPSHOT_DELIVERY, Channel, DeliveryTerms, Topics
from edge.mqtt.paho_client import PahoClient
from edge.mqtt.send_queue import SendQueue
from edge.outbox.outbox import Outbox

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 20  # most unacknowledged events
RESERVED_IN_FLIGHT = 4  # of the unacknowledged messages that the broker accepts, kept free for open commands and status
IDLE_S = 1.0  # longest wait while connected; keep-alive is checked after each
ACK_GRACE_NS = 1_000_000_000  # wait for the acknowledgement of an open command after its expiry
OFFLINE_TIMEOUT_NS = 1_000_000_000  # part of the time for closing that is kept for publishing offline
NS = 1_000_000_000


class SessionStopped(Exception):  # noqa: N818 not an error
    """The session has ended: offline is published, or the time for that is over."""


@dataclass(frozen=True, slots=True)
class PendingOpen:
    """A waiting or sent open command; `expires_ns` is monotonic."""

    command: OpenCommand
    expires_ns: int


def pop_expired(opens: deque[PendingOpen], now_ns: int) -> Iterator[OpenCommand]:
    """Take the expired commands at the head of a queue; `now_ns` is monotonic."""
    while opens and opens[0].expires_ns <= now_ns:
        yield opens.popleft().command


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """Sends over one connection. An open command is sent once and in time, or never; see `Publisher`.

    Attributes:
        client: connection.
        url: address of the broker, for messages to people.
        topics: topics of the door.
        outbox: source of events.
        opens: waiting open commands; the publisher appends.
        queue: other messages.
        birth: times to send the retained payloads again for Home Assistant.
        sign: signs every payload just before it is published.
        clock: clock of capture times.
        on_open_expired: receives a command that may not have arrived in time, the reason and its detail.
        on_open_arrived: receives a command that the broker has accepted, and whether no client subscribes to it.
    """

    client: PahoClient
    url: str
    topics: Topics
    outbox: Outbox
    opens: deque[PendingOpen]
    queue: SendQueue
    birth: HomeAssistantBirthListener
    sign: Signer
    clock: Clock
    on_open_expired: Callable[[OpenCommand, Reason, str], None]
    on_open_arrived: Callable[[OpenCommand, bool], None]
    # Sent with QoS 1 and not acknowledged, by packet id.
    _events: dict[int, int] = field(default_factory=dict, init=False)  # seq, rising
    _sent_opens: dict[int, PendingOpen] = field(default_factory=dict, init=False)
    _others: set[int] = field(default_factory=set, init=False)
    _sent_seq: int = field(default=0, init=False)

    def announce_online(self) -> None:
        """Publish online as the first message.

        Raises:
            BrokerError: the connection has ended.
        """
        self._others.add(self._publish_status(DoorConnection.ONLINE, Reason.CONNECTED))
        self.queue.requeue_retained()
        self.birth.listen(self.client.subscribe)

    def run(self, wakeup: WakeupPipe, stop_deadline_ns: Callable[[], int | None]) -> None:
        """Send until the connection ends or `stop_deadline_ns` returns a time.

        Args:
            wakeup: ends a wait when there is something to send.
            stop_deadline_ns: returns the deadline of the session, monotonic; None: none yet.

        Raises:
            BrokerError: the connection has ended.
            SessionStopped: the session was stopped.
        """
        while (stop_ns := stop_deadline_ns()) is None or not self._is_done(stop_ns):
            self._send()
            self.client.poll(self._poll_timeout_s(stop_ns), wakeup)
            self._handle_acks()
        self._announce_offline(stop_ns)

    def abort(self) -> None:
        """Cut the connection; unacknowledged open commands expire."""
        self.client.abort()
        for pending in self._sent_opens.values():
            self.on_open_expired(pending.command, Reason.CONNECTION_BROKE, "")

    def _send(self) -> None:
        """Send the messages that may be sent now.

        Events go first, as far as the window allows. If the broker accepts so few unacknowledged messages that events
        would use the whole window, one place stays free for a waiting open command.
        """
        for command in pop_expired(self.opens, self.clock.monotonic_ns()):
            self.on_open_expired(command, Reason.OPEN_TOO_OLD, "")
        client, queue = self.client, self.queue
        room = min(MAX_IN_FLIGHT - len(self._events), self._free_places())
        if self.opens:
            room = min(room, client.receive_max - 1 - self._in_flight())
        for event in self._pending_events(room):
            copy = msgspec.structs.replace(event, published_at=format_unix_ns(self.clock.unix_ns()))
            self._events[self._publish_record(Channel.EVENTS, copy)] = self._sent_seq = event.seq
        while self.opens and self._has_place():
            self._publish_open(self.opens.popleft())
        while self._has_place() and (challenge := queue.pop_challenge(self.clock.monotonic_ns())):
            self._others.add(self._publish_record(Channel.CHALLENGE, *challenge))
        while self._free_places() > 0 and not client.is_congested():  # so that no other message waits for snapshots
            snapshot = queue.pop_snapshot(self._last_sent_seq(), self.clock.monotonic_ns())
            if snapshot is None:
                break
            topic = self.topics.snapshot(snapshot.event_id)
            self._others.add(self._publish(topic, snapshot.jpeg, SNAPSHOT_DELIVERY, snapshot.expires_ns))
        if self.birth.pop_due(self.clock.monotonic_ns()):
            queue.requeue_retained()
        while self._has_place() and (retained := queue.pop_retained()):
            self._others.add(client.publish(*retained, retain=True))
        if (report := queue.pop_health()) is not None and not client.is_congested():
            self._publish_record(Channel.HEALTH, report)

    def _publish(self, topic: str, payload: bytes, terms: DeliveryTerms, expires_ns: int | None = None) -> int:
        """Publish with a QoS and retain flag; `expires_ns` is monotonic, None: the message does not expire."""
        expiry_s = None if expires_ns is None else max((expires_ns - self.clock.monotonic_ns()) // NS, 1)
        return self.client.publish(topic, payload, qos=terms.qos, retain=terms.retained, expiry_s=expiry_s)

    def _publish_record(self, channel: Channel, record: Record, expires_ns: int | None = None) -> int:
        payload = self.sign(channel, encode(record))
        return self._publish(self.topics.topic_for(channel), payload, DELIVERY_TERMS[channel], expires_ns)

    def _publish_status(self, connection: DoorConnection, reason: Reason) -> int:
        status = make_status(self.topics.door, connection, reason, since_ns=self.clock.unix_ns())
        return self._publish_record(Channel.STATUS, status)

    def _publish_open(self, pending: PendingOpen) -> None:
        """Publish an open command after a ping.

        A broker that was frozen, and whose connection was cut meanwhile, stops at the ping, which it cannot answer, and
        does not deliver the open command after it.
        """
        payload = self.sign(Channel.OPEN, encode(pending.command))
        left_ns = pending.expires_ns - self.clock.monotonic_ns()  # read after signing, which takes time
        if left_ns <= 0:
            self.on_open_expired(pending.command, Reason.OPEN_TOO_OLD, "")
            return
        self.client.ping()
        try:
            packet_id = self.client.publish(
                self.topics.topic_for(Channel.OPEN), payload, expiry_s=max(left_ns // NS, 1)
            )
        except BrokerError:
            self.on_open_expired(pending.command, Reason.CONNECTION_BROKE, "")
            raise
        self._sent_opens[packet_id] = pending

    def _in_flight(self) -> int:
        return len(self._events) + len(self._sent_opens) + len(self._others)

    def _has_place(self) -> bool:
        return self._in_flight() < self.client.receive_max

    def _free_places(self) -> int:
        """Number of further messages without using the places reserved for open commands and status."""
        return max(self.client.receive_max - RESERVED_IN_FLIGHT, 1) - self._in_flight()

    def _last_sent_seq(self) -> int:
        return max(self._sent_seq, self.outbox.acknowledged_seq())

    def _pending_events(self, room: int) -> list[Event]:
        """The next events; none while the outbox cannot be read, so that open commands continue."""
        if room <= 0:
            return []
        try:
            return self.outbox.pending(self._last_sent_seq(), room)
        except OutboxError as error:
            log.debug("%s", error)  # already logged by the outbox
            return []

    def _handle_acks(self) -> None:
        """Process acknowledgements and received messages.

        Raises:
            BrokerRefusedError: the broker refuses events.
            BrokerError: an open command was not acknowledged in time.
        """
        now_ns = self.clock.monotonic_ns()
        for message in self.client.take_messages():
            self.birth.on_message(message.topic, message.payload, retained=message.retained, now_ns=now_ns)
        for ack in self.client.take_acks():
            pending = self._sent_opens.pop(ack.packet_id, None)
            self._others.discard(ack.packet_id)
            if ack.refusal and ack.packet_id in self._events:  # keep it as undelivered
                self._acknowledge_events()
                raise BrokerRefusedError(
                    f"{self.url}: refuses events of this door ({ack.refusal}); let its access rules allow writing "
                    f"to {self.topics.topic_for(Channel.EVENTS)}"
                )
            self._events.pop(ack.packet_id, None)
            if ack.refusal:
                log.warning("message refused: broker=%s reason=%s; check its access rules", self.url, ack.refusal)
            if pending is not None and ack.refusal:
                self.on_open_expired(pending.command, Reason.BROKER_REFUSED_OPEN, ack.refusal)
            elif pending is not None:
                self.on_open_arrived(pending.command, ack.unheard)
        self._acknowledge_events()
        latest_ns = self.clock.monotonic_ns() - ACK_GRACE_NS
        if any(pending.expires_ns < latest_ns for pending in self._sent_opens.values()):
            raise BrokerError(f"{self.url}: an open command was not acknowledged in time, so the connection was cut")

    def _acknowledge_events(self) -> None:
        """Acknowledge in the outbox the events that have arrived without a gap."""
        delivered_seq = next(iter(self._events.values())) - 1 if self._events else self._sent_seq
        try:
            self.outbox.acknowledge(delivered_seq)
        except OutboxError as error:
            log.debug("%s", error)  # already logged by the outbox, which stores it later

    def _poll_timeout_s(self, stop_ns: int | None) -> float:
        """Time without work, unless another thread wakes the session."""
        now_ns = self.clock.monotonic_ns()
        waits_ns = [pending.expires_ns + ACK_GRACE_NS - now_ns for pending in self._sent_opens.values()]
        if stop_ns is not None:
            waits_ns.append(stop_ns - OFFLINE_TIMEOUT_NS - now_ns)
        if (birth_ns := self.birth.due_in_ns(now_ns)) is not None:
            waits_ns.append(birth_ns)
        return max(min([IDLE_S, *(wait_ns / NS for wait_ns in waits_ns)]), 0.001)

    def _is_done(self, stop_ns: int) -> bool:
        """Whether everything is sent, or the time for it is over."""
        sent = not self.opens and self.queue.is_empty() and not self._in_flight() and self.outbox.depth() == 0
        return sent or self.clock.monotonic_ns() > stop_ns - OFFLINE_TIMEOUT_NS

    def _announce_offline(self, stop_ns: int) -> None:
        """Publish offline, wait for the acknowledgement, and disconnect."""
        packet_id = self._publish_status(DoorConnection.OFFLINE, Reason.STOPPED)
        acknowledged = False
        while not acknowledged and (left_ns := stop_ns - self.clock.monotonic_ns()) > 0:
            self.client.poll(left_ns / NS)
            acknowledged = any(ack.packet_id == packet_id for ack in self.client.take_acks())
        self.client.close()
        raise SessionStopped
