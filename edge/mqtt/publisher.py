"""The door's voice: a thread that carries events, openings, status and health to the broker.

The pipeline never waits for it. What must not be lost is in the outbox; what must not be late is dropped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError
from edge.events.homeassistant import DiscoveryMessage
from edge.events.schema import Challenge, DoorConnection, Health, OpenCommand, PresenceReport, ReleaseReport
from edge.events.signing import load_signer
from edge.events.snapshot import Snapshot
from edge.events.topics import Channel, Topics
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.mqtt.connect import connect
from edge.mqtt.connection import Connection
from edge.mqtt.homeassistant_birth import HomeAssistantBirthListener
from edge.mqtt.in_flight import PendingOpen
from edge.mqtt.messages import Protocol
from edge.mqtt.send_queue import ConnectionState, ConnectionStatus, SendQueue
from edge.mqtt.session import NS, DeliveryProgress, MessageBuilder, Session, SessionStopped
from edge.mqtt.wakeup_pipe import WakeupPipe
from edge.outbox.outbox import Outbox

log = logging.getLogger(__name__)

STABLE_AFTER_S = 10.0  # a connection that lasted so long starts the waiting times anew when it breaks
RETRY_WITH_OPEN_S = 0.25  # between two attempts to connect while an opening waits


class Publisher:
    """Publishes one door. Making it starts nothing; `start`, or `with`, does.

    Events come from the outbox, are sent in order with at most `MAX_IN_FLIGHT` under way, and leave the outbox when
    the broker
    has acknowledged them; after a reconnect the first one that was not is sent again. An opening is sent only while it
    is fresh and the broker is there. It is never sent twice, and when no acknowledgement comes in time the connection
    is cut, so that the network cannot deliver it later.

    Args:
        config: the broker.
        topics: the door's topics.
        outbox: where events come from.
        on_open_expired: told of an opening that did not surely arrive in time, and why; it should record an
            `open-expired` event. Called from within `open` or from the publisher's own thread.
        on_open_unheard: told of an opening that nobody received, as an MQTT 5 broker may say; it should record an
            `open-unheard` event. Called from the publisher's own thread. None: only `problem` says so.
        introduction: what the door says to Home Assistant, if anything.
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
        on_open_expired: Callable[[OpenCommand, str], None],
        on_open_unheard: Callable[[OpenCommand], None] | None = None,
        introduction: DiscoveryMessage | None = None,
        backoff_s: tuple[float, float] = (1.0, 30.0),
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        resolve_endpoint(config)  # fails here, where somebody reads it, and not in the thread
        self._config = config
        self._topics = topics
        self._outbox = outbox
        self._backoff_s = backoff_s
        self._desk = SendQueue()
        if introduction:
            self._desk.set_retained(introduction.message)
        self._birth = HomeAssistantBirthListener(introduction)
        self._progress = DeliveryProgress()
        self._voice = MessageBuilder(
            config=config,
            topics=topics,
            outbox=outbox,
            desk=self._desk,
            progress=self._progress,
            on_open_expired=on_open_expired,
            on_open_unheard=on_open_unheard or (lambda _: None),
            birth=self._birth,
            seal=load_signer(config),
            wall_ns=wall_ns,
            monotonic_ns=monotonic_ns,
        )
        self._waker = WakeupPipe()
        self._preferred_protocol: Protocol = "5"
        self._logged_status: ConnectionStatus | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def state(self) -> ConnectionState:
        """How the door stands with its broker just now."""
        return self._desk.state

    def problem(self) -> str:
        """What somebody should look at while the door is connected, or ""."""
        if not self._progress.unheard:
            return ""
        return f"the last opening reached no lock: nobody subscribes to {self._topics.topic_for(Channel.OPEN)}"

    def start(self) -> None:
        """Start connecting; returns at once."""
        self._waker.open()
        self._outbox.on_append(self._waker.notify)
        self._thread.start()

    def open(self, message: OpenCommand, captured_ns: int) -> None:
        """Open the door: publish while it is fresh, or never. Returns at once.

        Args:
            message: what to say.
            captured_ns: monotonic capture time of the frame that decided.
        """
        opening = PendingOpen(message, captured_ns + round(self._config.open_max_age_s * NS))
        if self._desk.add_opening(opening):
            self._waker.notify()
        else:
            self._voice.report_expired(opening, self._rejection_reason(self._desk.state))

    def challenge(self, message: Challenge, expires_ns: int) -> None:
        """Tell a visitor, unless that is late; `expires_ns` is monotonic. Returns at once."""
        self._desk.add_challenge(message, expires_ns)
        self._waker.notify()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Publish the picture of an event, after it, unless that is late. Returns at once."""
        self._desk.add_snapshot(snapshot)
        self._waker.notify()

    def release(self, report: ReleaseReport) -> None:
        """Publish which release runs, now and after every reconnect; a newer report replaces the older."""
        self._publish_retained(Channel.RELEASE, report)

    def presence(self, report: PresenceReport) -> None:
        """Publish whether somebody stands at the door, now and after every reconnect; a newer report replaces it."""
        self._publish_retained(Channel.PRESENCE, report)

    def health(self, report: Health) -> None:
        """Publish a health report when that is next possible; a newer one replaces one that still waits."""
        self._desk.put_health(report)
        self._waker.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what can be sent within `timeout_s`, say offline, disconnect. Closing twice does nothing."""
        if self._progress.stop_deadline_ns is not None:
            return
        self._progress.stop_deadline_ns = time.monotonic_ns() + round(timeout_s * NS)
        self._outbox.on_append(None)
        if self._thread.is_alive():
            self._waker.notify()
            self._thread.join(timeout_s + 1.0)
            if self._thread.is_alive():
                log.warning("publisher: still waiting for the network while closing; left behind")
            else:
                self._waker.close()
        self._set_state(ConnectionState(ConnectionStatus.CLOSED))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish_retained(self, channel: Channel, report: ReleaseReport | PresenceReport) -> None:
        self._desk.set_retained(self._voice.build(channel, report))
        self._waker.notify()

    # In the publisher's thread.

    def _run(self) -> None:
        first_s, longest_s = self._backoff_s
        wait_s = first_s
        while self._progress.stop_deadline_ns is None:
            began_ns = time.monotonic_ns()
            try:
                self._serve(self._connect())
            except SessionStopped:
                return
            except (BrokerRefusedError, ConfigError) as error:
                self._log_state(ConnectionState(ConnectionStatus.REFUSED, str(error)))
                wait_s = longest_s
            except BrokerError as error:
                self._log_state(ConnectionState(ConnectionStatus.UNREACHABLE, str(error)))
                if time.monotonic_ns() - began_ns > STABLE_AFTER_S * NS:
                    wait_s = first_s
            except Exception:
                log.exception("publisher: unexpected failure; connecting again")
                self._set_state(ConnectionState(ConnectionStatus.UNREACHABLE, "unexpected failure: see the log"))
                wait_s = longest_s
            if self._progress.stop_deadline_ns is None:
                self._wait_before_retry(wait_s * random.uniform(0.75, 1.25))  # not a hundred doors in the same moment
            wait_s = min(wait_s * 2, longest_s)

    def _wait_before_retry(self, wait_s: float) -> None:
        """Wait; closing ends it early, and so does an opening: somebody stands at the door."""
        began = time.monotonic()
        while self._progress.stop_deadline_ns is None:
            self._voice.expire_stale()
            pause_s = min(wait_s, RETRY_WITH_OPEN_S) if self._desk.has_pending_open() else wait_s
            left_s = began + pause_s - time.monotonic()
            if left_s <= 0:
                return
            self._waker.wait(left_s)

    def _connect(self) -> Connection:
        # The id must stay the same: when we come back while the broker still waits for our old connection, it ends
        # that one, will and all, before our new status; with another id the old will would come later and win.
        connection, self._preferred_protocol = connect(
            self._config,
            client_id=f"threshold-{self._topics.site}-{self._topics.door}",
            will=self._voice.status(DoorConnection.OFFLINE, "the connection was lost", since=None),
            first=self._preferred_protocol,
        )
        return connection

    def _serve(self, connection: Connection) -> None:
        """Use one connection until it ends.

        Raises:
            BrokerError: it has ended.
            Stopped: we have.
        """
        session = Session(connection, self._voice)
        try:
            session.announce_online()
            self._log_state(ConnectionState(ConnectionStatus.ONLINE, protocol=connection.protocol))
            session.run(self._waker)
        finally:
            self._set_state(ConnectionState(ConnectionStatus.CONNECTING))
            session.abort()

    def _log_state(self, state: ConnectionState) -> None:
        """Take on a state, and log it if it is news."""
        self._set_state(state)
        news = state.link is not self._logged_status
        self._logged_status = state.link
        if state.link is ConnectionStatus.ONLINE:
            log.info("connected to %s, MQTT %s", self._config.url, state.protocol)
        else:
            log.log(logging.WARNING if news else logging.DEBUG, "%s; events are kept, trying again", state.reason)

    def _set_state(self, state: ConnectionState) -> None:
        for opening in self._desk.set_state(state):
            self._voice.report_expired(opening, self._rejection_reason(state))

    @staticmethod
    def _rejection_reason(state: ConnectionState) -> str:
        return f"no connection to the broker ({state.link})"
