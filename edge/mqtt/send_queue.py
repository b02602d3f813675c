"""Thread-safe queue of messages other than events and open commands; expired messages are dropped."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from edge.events.schema import Challenge, Health

_MAX_WAITING = 16  # challenges, and snapshots of some ten kilobytes each; beyond this the oldest are dropped


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The face of one event, for `…/snapshot/<event id>`.

    Attributes:
        event_id: id of the event.
        seq: number of the event; the snapshot is sent after it.
        jpeg: JPEG file.
        expires_ns: expiry, monotonic clock.
    """

    event_id: str
    seq: int
    jpeg: bytes = field(repr=False)
    expires_ns: int


class SendQueue:
    """Challenges, snapshots, retained payloads and the latest health report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._challenges: deque[tuple[Challenge, int]] = deque(maxlen=_MAX_WAITING)
        self._snapshots: deque[Snapshot] = deque(maxlen=_MAX_WAITING)
        self._health: Health | None = None
        self._retained: dict[str, bytes] = {}  # latest payload by topic
        self._unsent: set[str] = set()  # topics whose payload this connection has not sent

    def add_challenge(self, message: Challenge, expires_ns: int) -> None:
        """Queue a challenge; `expires_ns` is monotonic."""
        with self._lock:
            self._challenges.append((message, expires_ns))

    def pop_challenge(self, now_ns: int) -> tuple[Challenge, int] | None:
        """Take the next challenge that has not expired, with its expiry."""
        with self._lock:
            while self._challenges:
                message, expires_ns = self._challenges.popleft()
                if expires_ns > now_ns:
                    return message, expires_ns
        return None

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Queue a snapshot until its event is sent."""
        with self._lock:
            self._snapshots.append(snapshot)

    def pop_snapshot(self, sent_seq: int, now_ns: int) -> Snapshot | None:
        """Take the next snapshot that has not expired, if the events up to its own are sent."""
        with self._lock:
            while self._snapshots and self._snapshots[0].expires_ns <= now_ns:
                self._snapshots.popleft()
            if self._snapshots and self._snapshots[0].seq <= sent_seq:
                return self._snapshots.popleft()
        return None

    def set_health(self, report: Health) -> None:
        """Queue a health report; it replaces a waiting one."""
        with self._lock:
            self._health = report

    def pop_health(self) -> Health | None:
        with self._lock:
            report, self._health = self._health, None
        return report

    def set_retained(self, topic: str, payload: bytes) -> None:
        """Queue a payload for this and every later connection, until another payload replaces it."""
        with self._lock:
            self._retained[topic] = payload
            self._unsent.add(topic)

    def pop_retained(self) -> tuple[str, bytes] | None:
        """Take a topic and its payload that this connection has not sent."""
        with self._lock:
            if not self._unsent:
                return None
            topic = self._unsent.pop()
            return topic, self._retained[topic]

    def requeue_retained(self) -> None:
        """Queue all retained payloads again."""
        with self._lock:
            self._unsent = set(self._retained)

    def is_empty(self) -> bool:
        with self._lock:
            return not (self._challenges or self._snapshots or self._unsent or self._health)
