"""The door's voice: a thread that carries events, openings, status and health to the broker.

The pipeline never waits for it. What must not be lost is in the outbox; what must not be late is dropped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import msgspec

from edge.config import MqttConfig
from edge.errors import BrokerError, BrokerRefused, ConfigError, OutboxError
from edge.messaging.connection import Connection, Outgoing, Protocol, Waker, connect
from edge.messaging.endpoint import read_endpoint
from edge.messaging.events import (
    VERSION,
    Channel,
    Event,
    Health,
    Open,
    Presence,
    ReleaseReport,
    Status,
    Topics,
    encode,
    instant,
)
from edge.messaging.flight import Flight, Opening
from edge.messaging.outbox import Outbox

log = logging.getLogger(__name__)

WINDOW = 20  # events under way at once
SPARE = 4  # of the messages that the broker lets us have under way, kept free for openings and status
STEADY_S = 10.0  # a connection that lasted so long starts the waiting times anew when it breaks
IDLE_S = 1.0  # the longest nap while connected; keep-alive is looked after at each waking
EAGER_S = 0.25  # between two attempts to connect while an opening waits
ACK_GRACE_NS = 1_000_000_000  # an opening sent just before it expires may still be acknowledged for so long
FAREWELL_NS = 1_000_000_000  # of the time for closing, kept for saying offline
NS = 1_000_000_000


class Link(StrEnum):
    """How the door stands with its broker."""

    CONNECTING = "connecting"
    ONLINE = "online"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LinkState:
    """How the door stands with its broker, and why; `protocol` is the MQTT version spoken, "" unless online."""

    link: Link
    reason: str = ""
    protocol: str = ""


class _Stopped(Exception):
    """The goodbye has been said, or the time for it is over."""


class Publisher:
    """Publishes one door. Making it starts nothing; `start`, or `with`, does.

    Events come from the outbox, are sent in order with at most `WINDOW` under way, and leave the outbox when the broker
    has acknowledged them; after a reconnect the first one that was not is sent again. An opening is sent only while it
    is fresh and the broker is there. It is never sent twice, and when no acknowledgement comes in time the connection
    is cut, so that the network cannot deliver it later.

    Args:
        config: the broker.
        topics: the door's topics.
        outbox: where events come from.
        on_open_expired: told of an opening that did not surely arrive in time, and why; it should record an
            `open-expired` event. Called from within `open` or from the publisher's own thread.
        backoff_s: the first and the longest time between two attempts to connect.
        wall_ns: the wall clock, nanoseconds since 1970 UTC.
        monotonic_ns: the clock of capture times.

    Raises:
        ConfigError: the [mqtt] table or a file it names cannot be used.
    """

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        outbox: Outbox,
        *,
        on_open_expired: Callable[[Open, str], None],
        backoff_s: tuple[float, float] = (1.0, 30.0),
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        read_endpoint(config)  # fails here, where somebody reads it, and not in the thread
        self._config = config
        self._topics = topics
        self._outbox = outbox
        self._on_open_expired = on_open_expired
        self._backoff_s = backoff_s
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()  # guards the next four
        self._openings: deque[Opening] = deque()
        self._health: Health | None = None
        self._release: tuple[ReleaseReport, bool] | None = None  # the latest, and whether this connection has sent it
        self._state = LinkState(Link.CONNECTING)
        self._waker = Waker()
        self._first: Protocol = "5"
        self._done_seq = 0  # the broker has everything up to here, even if the outbox could not store that
        self._told: Link | None = None
        self._troubled = False
        self._stop_ns: int | None = None  # monotonic: be gone by then
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def state(self) -> LinkState:
        """How the door stands with its broker just now."""
        return self._state

    def start(self) -> None:
        """Start connecting; returns at once."""
        self._waker.open()
        self._outbox.listen(self._waker.wake)
        self._thread.start()

    def open(self, message: Open, captured_ns: int) -> None:
        """Open the door: publish while it is fresh, or never. Returns at once.

        Args:
            message: what to say.
            captured_ns: monotonic capture time of the frame that decided.
        """
        opening = Opening(message, captured_ns + round(self._config.open_max_age_s * NS))
        with self._lock:
            hopeless = self._state.link in (Link.REFUSED, Link.CLOSED)
            if not hopeless:
                self._openings.append(opening)
        if hopeless:
            self._on_open_expired(message, f"no connection to the broker ({self._state.link})")
        else:
            self._waker.wake()

    def release(self, report: ReleaseReport) -> None:
        """Publish which release runs, now and after every reconnect; a newer report replaces the older."""
        with self._lock:
            self._release = (report, False)
        self._waker.wake()

    def health(self, report: Health) -> None:
        """Publish a health report when that is next possible; a newer one replaces one that still waits."""
        with self._lock:
            self._health = report
        self._waker.wake()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what can be sent within `timeout_s`, say offline, disconnect. Closing twice does nothing."""
        if self._stop_ns is not None:
            return
        self._stop_ns = time.monotonic_ns() + round(timeout_s * NS)
        self._outbox.listen(None)
        if self._thread.is_alive():
            self._waker.wake()
            self._thread.join(timeout_s + 1.0)
            if self._thread.is_alive():
                log.warning("publisher: still waiting for the network while closing; left behind")
            else:
                self._waker.close()
        self._become(LinkState(Link.CLOSED))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Connecting, in the publisher's thread.

    def _run(self) -> None:
        first_s, longest_s = self._backoff_s
        wait_s = first_s
        while self._stop_ns is None:
            began_ns = time.monotonic_ns()
            try:
                self._serve(self._connect())
            except _Stopped:
                return
            except (BrokerRefused, ConfigError) as error:
                self._tell(LinkState(Link.REFUSED, str(error)))
                wait_s = longest_s
            except BrokerError as error:
                self._tell(LinkState(Link.UNREACHABLE, str(error)))
                if time.monotonic_ns() - began_ns > STEADY_S * NS:
                    wait_s = first_s
            except Exception:
                log.exception("publisher: unexpected failure; connecting again")
                self._become(LinkState(Link.UNREACHABLE, "unexpected failure: see the log"))
                wait_s = longest_s
            if self._stop_ns is None:
                self._pause(wait_s * random.uniform(0.75, 1.25))  # not a hundred doors in the same moment
            wait_s = min(wait_s * 2, longest_s)

    def _pause(self, wait_s: float) -> None:
        """Wait; closing ends it early, and so does an opening: somebody stands at the door."""
        began = time.monotonic()
        while self._stop_ns is None:
            self._expire_late()
            pause_s = min(wait_s, EAGER_S) if self._openings else wait_s
            left_s = began + pause_s - time.monotonic()
            if left_s <= 0:
                return
            self._waker.wait(left_s)

    def _connect(self) -> Connection:
        # The id must stay the same: when we come back while the broker still waits for our old connection, it ends
        # that one, will and all, before our new status; with another id the old will would come later and win.
        connection, self._first = connect(
            self._config,
            client_id=f"threshold-{self._topics.site}-{self._topics.door}",
            will=self._status(Presence.OFFLINE, "the connection was lost", since=None),
            first=self._first,
        )
        return connection

    def _tell(self, state: LinkState) -> None:
        """Take on a state, and log it if it is news."""
        self._become(state)
        news = state.link is not self._told
        self._told = state.link
        if state.link is Link.ONLINE:
            log.info("connected to %s, MQTT %s", self._config.url, state.protocol)
        else:
            log.log(logging.WARNING if news else logging.DEBUG, "%s; events are kept, trying again", state.reason)

    def _become(self, state: LinkState) -> None:
        with self._lock:
            self._state = state
            left = list(self._openings) if state.link in (Link.REFUSED, Link.CLOSED) else []
            if left:
                self._openings.clear()
        for opening in left:
            self._expire(opening, f"no connection to the broker ({state.link})")

    # Talking, in the publisher's thread.

    def _serve(self, connection: Connection) -> None:
        """Use one connection until it ends.

        Raises:
            BrokerError: it has ended.
            _Stopped: we have.
        """
        flight = Flight()
        try:
            online = self._status(Presence.ONLINE, "connected", since=self._wall_ns())
            flight.add_other(connection.publish(online))
            with self._lock:
                self._release = self._release and (self._release[0], False)
            self._tell(LinkState(Link.ONLINE, protocol=connection.protocol))
            while not self._finished(flight):
                self._send(connection, flight)
                connection.spin(self._nap_s(flight), self._waker)
                self._settle(connection, flight)
            self._farewell(connection)
        finally:
            connection.abort()
            self._become(LinkState(Link.CONNECTING))
            for opening in flight.openings():
                self._expire(opening, "the connection broke before the broker had acknowledged it")

    def _send(self, connection: Connection, flight: Flight) -> None:
        """Hand over what may be sent now: openings first, then events as far as the window allows, then health."""
        self._expire_late()
        while len(flight) < connection.receive_max and (opening := self._next_opening()) is not None:
            self._send_opening(connection, flight, opening)
        room = min(WINDOW - flight.events, max(connection.receive_max - SPARE, 1) - len(flight))
        for event in self._pending(max(flight.sent_seq, self._done_seq), room):
            copy = msgspec.structs.replace(event, published_at=instant(self._wall_ns()))
            number = connection.publish(Outgoing(self._topics.of(Channel.EVENTS), encode(copy), qos=1))
            flight.add_event(number, event.seq)
        with self._lock:
            report, self._health = self._health, None
            release = self._release[0] if self._release and not self._release[1] else None
            self._release = self._release and (self._release[0], True)
        if release is not None:
            outgoing = Outgoing(self._topics.of(Channel.RELEASE), encode(release), qos=1, retain=True)
            flight.add_other(connection.publish(outgoing))
        if report is not None and not connection.congested():
            connection.publish(Outgoing(self._topics.of(Channel.HEALTH), encode(report), qos=0, retain=True))

    def _send_opening(self, connection: Connection, flight: Flight, opening: Opening) -> None:
        left_ns = opening.expires_ns - self._monotonic_ns()
        if left_ns <= 0:
            self._expire(opening, self._too_old())
            return
        expiry_s = max(left_ns // NS, 1)
        message = Outgoing(self._topics.of(Channel.OPEN), encode(opening.message), qos=1, expiry_s=expiry_s)
        try:
            number = connection.publish(message)
        except BrokerError:
            self._expire(opening, "the connection broke while it was sent")
            raise
        flight.add_opening(number, opening)

    def _next_opening(self) -> Opening | None:
        with self._lock:
            return self._openings.popleft() if self._openings else None

    def _expire_late(self) -> None:
        """Give up the openings that grew too old while waiting for room."""
        now_ns = self._monotonic_ns()
        with self._lock:
            late = [opening for opening in self._openings if opening.expires_ns <= now_ns]
            for opening in late:
                self._openings.remove(opening)
        for opening in late:
            self._expire(opening, self._too_old())

    def _too_old(self) -> str:
        return f"older than {self._config.open_max_age_s:g} s before it could be sent"

    def _pending(self, after_seq: int, room: int) -> list[Event]:
        """The next events; none while the outbox cannot be read, for openings must go on."""
        if room <= 0:
            return []
        try:
            events = self._outbox.pending(after_seq, room)
        except OutboxError as error:
            self._trouble(error)
            return []
        return events

    def _settle(self, connection: Connection, flight: Flight) -> None:
        """Take in what the broker has acknowledged; give up on it if it refuses events or leaves an opening hanging."""
        for receipt in connection.receipts():
            landing = flight.land(receipt)
            if landing is None or not landing.refusal:
                continue
            if landing.event_seq is not None:
                self._acknowledge(flight.done_seq())
                raise BrokerRefused(
                    f"{self._config.url}: does not take our events ({landing.refusal}); "
                    f"check that its access rules let this door write to {self._topics.of(Channel.EVENTS)}"
                )
            log.warning("%s: refuses our message (%s); check its access rules", self._config.url, landing.refusal)
            if landing.opening is not None:
                self._expire(landing.opening, f"refused by the broker ({landing.refusal})")
        self._acknowledge(flight.done_seq())
        latest_ns = self._monotonic_ns() - ACK_GRACE_NS
        if any(opening.expires_ns < latest_ns for opening in flight.openings()):
            raise BrokerError(f"{self._config.url}: an opening was not acknowledged in time, so the connection was cut")

    def _acknowledge(self, seq: int) -> None:
        if seq <= self._done_seq:
            return
        self._done_seq = seq
        try:
            self._outbox.acknowledge(seq)
        except OutboxError as error:
            self._trouble(error)
        else:
            self._troubled = False

    def _trouble(self, error: OutboxError) -> None:
        log.log(logging.DEBUG if self._troubled else logging.WARNING, "%s", error)
        self._troubled = True

    def _expire(self, opening: Opening, reason: str) -> None:
        try:
            self._on_open_expired(opening.message, reason)
        except OutboxError as error:
            self._trouble(error)

    def _nap_s(self, flight: Flight) -> float:
        """How long nothing needs doing unless somebody wakes us."""
        ends_ns = [opening.expires_ns + ACK_GRACE_NS - self._monotonic_ns() for opening in flight.openings()]
        if self._stop_ns is not None:
            ends_ns.append(self._stop_ns - FAREWELL_NS - time.monotonic_ns())
        return max(min([IDLE_S, *(end_ns / NS for end_ns in ends_ns)]), 0.001)

    def _finished(self, flight: Flight) -> bool:
        """Whether we are to stop, and everything is said or there is no time for it."""
        if self._stop_ns is None:
            return False
        told = self._release is None or self._release[1]
        said = told and not len(flight) and not self._openings and self._health is None and self._outbox.depth() == 0
        return said or time.monotonic_ns() > self._stop_ns - FAREWELL_NS

    def _farewell(self, connection: Connection) -> None:
        """Say offline, wait for the broker to have it, and disconnect."""
        assert self._stop_ns is not None
        offline = self._status(Presence.OFFLINE, "stopped", since=self._wall_ns())
        number = connection.publish(offline)
        heard = False
        while not heard and (left_ns := self._stop_ns - time.monotonic_ns()) > 0:
            connection.spin(left_ns / NS)
            heard = any(receipt.number == number for receipt in connection.receipts())
        connection.close()
        self._told = None
        raise _Stopped

    def _status(self, status: Presence, reason: str, *, since: int | None) -> Outgoing:
        since_text = None if since is None else instant(since)
        record = Status(v=VERSION, door=self._topics.door, status=status, reason=reason, since=since_text)
        return Outgoing(self._topics.of(Channel.STATUS), encode(record), qos=1, retain=True)
