"""Publishes events, open commands, reports and health from one background thread; reconnects with back-off.

The pipeline never waits for it. Events wait in the outbox and are not lost; late messages are dropped.

The path of an open command: `runtime/daemon.py` has a `Decision`; `runtime/event_recorder.py` stores its `Event`, made
by `events/factory.py`, and makes the `OpenCommand`; `Publisher.open` queues it as a `PendingOpen`; `mqtt/session.py`
signs and publishes it; `mqtt/paho_client.py` writes it to the socket.
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
    """Publishes for one door; `start`, or `with`, starts its thread.

    Events come from the outbox in order, with at most `MAX_IN_FLIGHT` unacknowledged, and leave it when the broker has
    acknowledged them. After a reconnect, sending continues with the first unacknowledged event. An open command is sent
    only while it is fresh and the broker is connected, and never twice. If it is not acknowledged in time, the
    connection is cut, so that the network cannot deliver the command later.

    Args:
        config: broker.
        topics: topics of the door.
        outbox: source of events.
        on_open_expired: receives an open command that may not have arrived in time, the reason and its detail, to
            record an `open-expired` event. Called from `open` or from the publisher thread.
        on_open_unheard: receives an open command without a subscriber, which some MQTT 5 brokers report, to record an
            `open-unheard` event. Called from the publisher thread. None: only `problem` reports it.
        discovery: discovery message for Home Assistant, if any.
        backoff_s: shortest and longest time between two attempts to connect.
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
        resolve_endpoint(config)  # raises here, not in the thread
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
        self._opens_lock = threading.Lock()  # for adding an open command and rejecting waiting ones
        self._open_unheard = False
        self._stop_deadline_ns: int | None = None  # monotonic
        self._wakeup = WakeupPipe()
        self._preferred_protocol: Protocol = "5"
        self._logged_status: ConnectionStatus | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def problem(self) -> str:
        """Problem for the operator while the door is connected, or ""."""
        if not self._open_unheard:
            return ""
        return f"the last open command reached no lock: no client subscribes to {self._topics.topic_for(Channel.OPEN)}"

    def start(self) -> None:
        """Start connecting; returns immediately."""
        self._wakeup.open()
        self._outbox.on_append(self._wakeup.notify)
        self._thread.start()

    def open(self, command: OpenCommand, captured_ns: int) -> None:
        """Publish an open command while it is fresh, or never. Returns immediately.

        Args:
            command: message for the lock.
            captured_ns: monotonic capture time of the deciding frame.
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
        """Publish a challenge before `expires_ns` (monotonic) or never. Returns immediately."""
        self._queue.add_challenge(message, expires_ns)
        self._wakeup.notify()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish the snapshot of an event after the event, before it expires or never. Returns immediately."""
        self._queue.add_snapshot(snapshot)
        self._wakeup.notify()

    def release(self, report: ReleaseReport) -> None:
        """Publish the release in use, now and after every reconnect; a newer report replaces it."""
        self._publish_retained(Channel.RELEASE, report)

    def presence(self, report: PresenceReport) -> None:
        """Publish the presence report, now and after every reconnect; a newer report replaces it."""
        self._publish_retained(Channel.PRESENCE, report)

    def health(self, report: Health) -> None:
        """Publish a health report as soon as possible; it replaces a waiting one."""
        self._queue.set_health(report)
        self._wakeup.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send for at most `timeout_s`, publish offline and disconnect. Closing twice does nothing."""
        if self._stop_deadline_ns is not None:
            return
        self._stop_deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS)
        self._outbox.on_append(None)
        if self._thread.is_alive():
            self._wakeup.notify()
            self._thread.join(timeout_s + 1.0)
            if self._thread.is_alive():
                log.warning("publisher thread did not end in time, left running")
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
        """Note that the broker has accepted an open command; report it if no client subscribes."""
        self._open_unheard = unheard
        if unheard:
            self._on_open_unheard(command)

    # In the publisher thread.

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
                log.exception("publisher failed unexpectedly, reconnecting")
                self._set_state(ConnectionState(ConnectionStatus.UNREACHABLE, "unexpected failure; see the log"))
                wait_s = longest_s
            if self._stop_deadline_ns is None:
                self._wait_before_retry(wait_s * random.uniform(0.75, 1.25))  # so that doors do not reconnect together
            wait_s = min(wait_s * 2, longest_s)

    def _wait_before_retry(self, wait_s: float) -> None:
        """Wait; closing ends the wait, and an open command shortens it."""
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
        # The client id must stay the same. If the old connection is still open at the broker, the broker ends it and
        # publishes its last will before the new status; with another id the old will would arrive later and win.
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
            SessionStopped: `close` was called.
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
        """Change the state, and log a change."""
        self._set_state(state)
        new = state.status is not self._logged_status
        self._logged_status = state.status
        if state.status is ConnectionStatus.ONLINE:
            log.info("broker connected: url=%s mqtt=%s", self._config.url, state.protocol)
        else:
            level = logging.WARNING if new else logging.DEBUG
            log.log(level, "broker not connected, retrying, events are kept: %s", state.reason)

    def _set_state(self, state: ConnectionState) -> None:
        with self._opens_lock:
            self.state = state
            rejected = list(self._opens) if state.rejects_opens else []
            if rejected:
                self._opens.clear()
        for pending in rejected:
            self._report_expired(pending.command, Reason.BROKER_NOT_CONNECTED, str(state.status))
