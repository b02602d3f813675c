"""What the door wants said and what it hears of the broker: handed from thread to thread, and kept only while fresh."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from edge.events.schema import Challenge, Health
from edge.events.snapshot import Snapshot
from edge.mqtt.in_flight import PendingOpen
from edge.mqtt.messages import OutgoingMessage

_CHALLENGES = 16  # at most so many wait; the oldest go first
_SNAPSHOTS = 16  # the same; a picture has some ten kilobytes


class ConnectionStatus(StrEnum):
    """How the door stands with its broker."""

    CONNECTING = "connecting"
    ONLINE = "online"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How the door stands with its broker, and why; `protocol` is the MQTT version spoken, "" unless online."""

    link: ConnectionStatus
    reason: str = ""
    protocol: str = ""

    @property
    def rejects_opens(self) -> bool:
        """Whether waiting for a connection makes no sense for an opening."""
        return self.link in (ConnectionStatus.REFUSED, ConnectionStatus.CLOSED)


class SendQueue:
    """Openings that wait, the latest of what stands until it is replaced, the state of the link. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._openings: deque[PendingOpen] = deque()
        self._challenges: deque[tuple[Challenge, int]] = deque(maxlen=_CHALLENGES)
        self._snapshots: deque[Snapshot] = deque(maxlen=_SNAPSHOTS)
        self._health: Health | None = None
        self._standing: dict[str, OutgoingMessage] = {}  # by topic
        self._unsaid: set[str] = set()  # those of them that this connection has not sent
        self._state = ConnectionState(ConnectionStatus.CONNECTING)

    @property
    def state(self) -> ConnectionState:
        return self._state

    def set_state(self, state: ConnectionState) -> list[PendingOpen]:
        """Take on a state; returns the openings that it leaves without hope."""
        with self._lock:
            self._state = state
            left = list(self._openings) if state.rejects_opens else []
            if left:
                self._openings.clear()
        return left

    def add_opening(self, opening: PendingOpen) -> bool:
        """Let an opening wait for the connection; False if there is no hope of one."""
        with self._lock:
            if self._state.rejects_opens:
                return False
            self._openings.append(opening)
            return True

    def next_opening(self) -> PendingOpen | None:
        with self._lock:
            return self._openings.popleft() if self._openings else None

    def pop_expired(self, now_ns: int) -> list[PendingOpen]:
        """Take the openings that grew too old while waiting; `now_ns` is monotonic."""
        with self._lock:
            late = [opening for opening in self._openings if opening.expires_ns <= now_ns]
            for opening in late:
                self._openings.remove(opening)
        return late

    def has_pending_open(self) -> bool:
        return bool(self._openings)

    def add_challenge(self, message: Challenge, expires_ns: int) -> None:
        """Let something that a visitor is to be told wait for the connection; `expires_ns` is monotonic."""
        with self._lock:
            self._challenges.append((message, expires_ns))

    def take_challenge(self, now_ns: int) -> tuple[Challenge, int] | None:
        """The next one that is not too late to tell, and when it will be."""
        with self._lock:
            while self._challenges:
                message, expires_ns = self._challenges.popleft()
                if expires_ns > now_ns:
                    return message, expires_ns
        return None

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Let a picture wait for its event to be sent."""
        with self._lock:
            self._snapshots.append(snapshot)

    def take_snapshot(self, sent_seq: int, now_ns: int) -> Snapshot | None:
        """The next one whose event was sent, the late ones dropped; `now_ns` is monotonic."""
        with self._lock:
            while self._snapshots and self._snapshots[0].expires_ns <= now_ns:
                self._snapshots.popleft()
            if self._snapshots and self._snapshots[0].seq <= sent_seq:
                return self._snapshots.popleft()
        return None

    def put_health(self, report: Health) -> None:
        with self._lock:
            self._health = report

    def take_health(self) -> Health | None:
        with self._lock:
            report, self._health = self._health, None
        return report

    def set_retained(self, message: OutgoingMessage) -> None:
        """What is to be said now and on every further connection, until another message for its topic replaces it."""
        with self._lock:
            self._standing[message.topic] = message
            self._unsaid.add(message.topic)

    def take_standing(self) -> OutgoingMessage | None:
        """One that this connection has not sent."""
        with self._lock:
            return self._standing[self._unsaid.pop()] if self._unsaid else None

    def requeue_retained(self) -> None:
        """Whatever stands is to be sent, also if it was."""
        with self._lock:
            self._unsaid = set(self._standing)

    def is_empty(self) -> bool:
        """Whether nothing waits to be said."""
        with self._lock:
            return not (self._openings or self._challenges or self._snapshots or self._unsaid or self._health)
