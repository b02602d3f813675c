"""Publishes events, open commands, reports and health from one background thread; reconnects with back-off.

The pipeline never waits for it. What must not be lost is in the outbox; what must not be late is dropped.

The way of an open, once `runtime/daemon.py` has a `Decision`: `runtime/event_recorder.py` has `events/factory.py` make
its `Event`, stores that, and makes the `OpenCommand`; `Publisher.open` here queues it as a `PendingOpen`;
`mqtt/session.py` signs and publishes it; `mqtt/paho_client.py` hands it to the socket. These four records, these five
files.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Self

from edge.core.clock import SYSTEM_CLOCK, Clock
from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError, OutboxError
from edge.core.reasons import Reason
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.factory import make_status
from edge.events.homeassistant import DiscoveryMessage, HomeAssistantBirthListener
from edge.events.schema import Challenge, DoorConnection, Health, OpenCommand, PresenceReport, ReleaseReport, encode
from edge.events.signing import load_signer
from edge.events.topics import Channel, Topics
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.mqtt.connection import ConnectionState, ConnectionStatus, connect
from edge.mqtt.paho_client import PahoClient, Protocol
from edge.mqtt.send_queue import SendQueue, Snapshot
from edge.mqtt.session import NS, PendingOpen, Session, SessionStopped, pop_expired
from edge.outbox.outbox import Outbox

log = logging.getLogger(__name__)

STABLE_AFTER_S = 10.0  # a connection that lasted this long resets the back-off when it breaks
RETRY_WITH_OPEN_S = 0.25  # between two attempts to connect while an open waits


class Publisher:
    """Publishes for one door. Making it starts nothing; `start`, or `with`, does.

    Events come from the outbox, are sent in order with at most `MAX_IN_FLIGHT` unacknowledged, and leave the outbox
    when the broker has acknowledged them; after a reconnect the first one that was not is sent again. An open is sent
    only while it is fresh and the broker is there. It is never sent twice, and if no acknowledgement comes in time the
    connection is cut, so that the network cannot deliver it later.

    Args:
        config: the broker.
        topics: the door's topics.
        outbox: source of events.
        on_open_expired: receives an open that did not surely arrive in time, and the reason; it should record an
            `open-expired` event. Called from within `open` or from the publisher's own thread.
        on_open_unheard: receives an open that nobody subscribes to, as an MQTT 5 broker may say; it should record an
            `open-unheard` event. Called from the publisher's own thread. None: only `problem` reports it.
        discovery: message for Home Assistant, if any.
        backoff_s: first and longest time between two attempts to connect.
        clock: clock of capture times, and wall clock.

    Attributes:
        state: whether the door is connected.

    Raises:
        ConfigError: the [mqtt] table or a file it names cannot be used.
    """

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        outbox: Outbox,
        *,
        on_open_expired: Callable[[OpenCommand, Reason, str], None],
        on_open_unheard: Callable[[OpenCommand], None] | None = None,
        discovery: DiscoveryMessage | None = None,
        backoff_s: tuple[float, float] = (1.0, 30.0),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        resolve_endpoint(config)  # fails here, where a person reads it, and not in the thread
        self.state = ConnectionState(ConnectionStatus.CONNECTING)
        self._config = config
        self._topics = topics
        self._outbox = outbox
        self._on_open_expired = on_open_expired
        self._on_open_unheard = on_open_unheard or (lambda _: None)
        self._backoff_s = backoff_s
        self._clock = clock
        self._sign = load_signer(config)
        self._queue = SendQueue()
        if discovery:
            self._queue.set_retained(discovery.topic, discovery.payload)
        self._birth = HomeAssistantBirthListener(discovery)
        self._opens: deque[PendingOpen] = deque()
        self._opens_lock = threading.Lock()  # between adding an open and rejecting those that wait
        self._open_unheard = False
        self._stop_deadline_ns: int | None = None  # monotonic
        self._wakeup = WakeupPipe()
        self._preferred_protocol: Protocol = "5"
        self._logged_status: ConnectionStatus | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def problem(self) -> str:
        """What an operator should look at while the door is connected, or ""."""
        if not self._open_unheard:
            return ""
        return f"the last opening reached no lock: nobody subscribes to {self._topics.topic_for(Channel.OPEN)}"

    def start(self) -> None:
        """Start connecting; returns at once."""
        self._wakeup.open()
        self._outbox.on_append(self._wakeup.notify)
        self._thread.start()

    def open(self, command: OpenCommand, captured_ns: int) -> None:
        """Publish an open command while it is fresh, or never. Returns at once.

        Args:
            command: message for the lock.
            captured_ns: monotonic capture time of the frame that decided.
        """
        with self._opens_lock:
            state = self.state
            if not state.rejects_opens:
                self._opens.append(PendingOpen(command, captured_ns + round(self._config.open_max_age_s * NS)))
        if state.rejects_opens:
            self._report_expired(command, Reason.BROKER_NOT_CONNECTED, str(state.status))
        else:
            self._wakeup.notify()

    def challenge(self, message: Challenge, expires_ns: int) -> None:
        """Publish a challenge unless it is late; `expires_ns` is monotonic. Returns at once."""
        self._queue.add_challenge(message, expires_ns)
        self._wakeup.notify()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish the snapshot of an event, after the event, unless it is late. Returns at once."""
        self._queue.add_snapshot(snapshot)
        self._wakeup.notify()

    def release(self, report: ReleaseReport) -> None:
        """Publish which release runs, now and after every reconnect; a newer report replaces an older one."""
        self._publish_retained(Channel.RELEASE, report)

    def presence(self, report: PresenceReport) -> None:
        """Publish whether somebody stands at the door, now and after every reconnect; a newer report replaces it."""
        self._publish_retained(Channel.PRESENCE, report)

    def health(self, report: Health) -> None:
        """Publish a health report when that is next possible; a newer one replaces one that still waits."""
        self._queue.set_health(report)
        self._wakeup.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what can be sent within `timeout_s`, publish offline, disconnect. Closing twice does nothing."""
        if self._stop_deadline_ns is not None:
            return
        self._stop_deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS)
        self._outbox.on_append(None)
        if self._thread.is_alive():
            self._wakeup.notify()
            self._thread.join(timeout_s + 1.0)
            if self._thread.is_alive():
                log.warning("publisher: still waiting for the network while closing; left behind")
            else:
                self._wakeup.close()
        self._set_state(ConnectionState(ConnectionStatus.CLOSED))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish_retained(self, channel: Channel, report: ReleaseReport | PresenceReport) -> None:
        self._queue.set_retained(self._topics.topic_for(channel), self._sign(channel, encode(report)))
        self._wakeup.notify()

    def _report_expired(self, command: OpenCommand, reason: Reason, detail: str = "") -> None:
        try:
            self._on_open_expired(command, reason, detail)
        except OutboxError as error:
            log.debug("%s", error)  # already logged by the outbox

    def _report_arrived(self, command: OpenCommand, unheard: bool) -> None:
        """The broker has taken an open; report it if nobody subscribes."""
        self._open_unheard = unheard
        if unheard:
            self._on_open_unheard(command)

    # In the publisher's thread.

    def _run(self) -> None:
        first_s, longest_s = self._backoff_s
        wait_s = first_s
        while self._stop_deadline_ns is None:
            began_ns = self._clock.monotonic_ns()
            try:
                self._use_connection(self._connect())
            except SessionStopped:
                return
            except (BrokerRefusedError, ConfigError) as error:
                self._log_state(ConnectionState(ConnectionStatus.REFUSED, str(error)))
                wait_s = longest_s
            except BrokerError as error:
                self._log_state(ConnectionState(ConnectionStatus.UNREACHABLE, str(error)))
                if self._clock.monotonic_ns() - began_ns > STABLE_AFTER_S * NS:
                    wait_s = first_s
            except Exception:
                log.exception("publisher: unexpected failure; connecting again")
                self._set_state(ConnectionState(ConnectionStatus.UNREACHABLE, "unexpected failure: see the log"))
                wait_s = longest_s
            if self._stop_deadline_ns is None:
                self._wait_before_retry(wait_s * random.uniform(0.75, 1.25))  # a hundred doors, not all at once
            wait_s = min(wait_s * 2, longest_s)

    def _wait_before_retry(self, wait_s: float) -> None:
        """Wait; closing ends it early, and so does an open: a visitor stands at the door."""
        began_ns = self._clock.monotonic_ns()
        while self._stop_deadline_ns is None:
            for command in pop_expired(self._opens, self._clock.monotonic_ns()):
                self._report_expired(command, Reason.OPEN_TOO_OLD)
            pause_s = min(wait_s, RETRY_WITH_OPEN_S) if self._opens else wait_s
            left_s = pause_s - (self._clock.monotonic_ns() - began_ns) / NS
            if left_s <= 0:
                return
            self._wakeup.wait(left_s)

    def _connect(self) -> PahoClient:
        # The id must stay the same: when we come back while the broker still waits for our old connection, it ends
        # that one, will and all, before our new status; with another id the old will would come later and win.
        offline = make_status(self._topics.door, DoorConnection.OFFLINE, Reason.CONNECTION_LOST, since_ns=None)
        client, self._preferred_protocol = connect(
            self._config,
            client_id=f"threshold-{self._topics.site}-{self._topics.door}",
            will=(self._topics.topic_for(Channel.STATUS), self._sign(Channel.STATUS, encode(offline))),
            first=self._preferred_protocol,
        )
        return client

    def _use_connection(self, client: PahoClient) -> None:
        """Use one connection until it ends.

        Raises:
            BrokerError: the connection has ended.
            SessionStopped: we have stopped.
        """
        session = Session(
            client=client,
            url=self._config.url,
            topics=self._topics,
            outbox=self._outbox,
            opens=self._opens,
            queue=self._queue,
            birth=self._birth,
            sign=self._sign,
            clock=self._clock,
            on_open_expired=self._report_expired,
            on_open_arrived=self._report_arrived,
        )
        try:
            session.announce_online()
            self._log_state(ConnectionState(ConnectionStatus.ONLINE, protocol=client.protocol))
            session.run(self._wakeup, lambda: self._stop_deadline_ns)
        finally:
            self._set_state(ConnectionState(ConnectionStatus.CONNECTING))
            session.abort()

    def _log_state(self, state: ConnectionState) -> None:
        """Change the state, and log it if it is new."""
        self._set_state(state)
        new = state.status is not self._logged_status
        self._logged_status = state.status
        if state.status is ConnectionStatus.ONLINE:
            log.info("connected to %s, MQTT %s", self._config.url, state.protocol)
        else:
            log.log(logging.WARNING if new else logging.DEBUG, "%s; events are kept, trying again", state.reason)

    def _set_state(self, state: ConnectionState) -> None:
        with self._opens_lock:
            self.state = state
            rejected = list(self._opens) if state.rejects_opens else []
            if rejected:
                self._opens.clear()
        for pending in rejected:
            self._report_expired(pending.command, Reason.BROKER_NOT_CONNECTED, str(state.status))
