"""Durable, bounded event queue: delivered in order, at least once; an `events-dropped` event reports losses."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

from edge.core.clock import SYSTEM_CLOCK, WallClock
from edge.core.config import OutboxConfig
from edge.core.errors import OutboxError
from edge.events.schema import Event, encode
from edge.outbox.database import (
    MAX_SEQ,
    Connection,
    DiskError,
    Row,
    decode_rows,
    drop,
    insert,
    last_expired_seq,
    seq_from_clock,
)
from edge.outbox.recovery import RecoveringDatabase, StoreEvent

log = logging.getLogger(__name__)

MAX_UNSAVED = 1000  # events kept in memory while the disk fails; beyond this the oldest are dropped and counted
_BATCH = 50  # events per transaction; keeps an attempt on a full disk cheap
_SWEEP_NS = 3600 * 10**9  # between two checks of the age of events
_DAY_S = 86_400


class Outbox:
    """Durable, bounded queue of events for the broker, in order.

    An event is on disk when `append` returns. `pending` returns events that the broker has not acknowledged;
    `acknowledge` marks events as delivered. If more than `max_events` wait, or events become too old, the oldest are
    dropped. Their number is stored, and one `events-dropped` event reports it when the broker acknowledges again.

    A damaged file is moved aside, its readable events are kept, and numbers continue above all earlier ones. While the
    disk is full, read-only or failing, `append` raises and keeps the event in memory, `problem` describes the fault,
    and `maintain`, which is called periodically, stores the events in memory.

    Thread-safe; only one process may have the file open.

    Args:
        path: database file; a missing folder is created.
        config: limits.
        announce: makes the `events-dropped` event for a number of lost events.
        wall_clock: wall clock; events do not age while it is not set.
        first_seq: number of the first event of a new database, unless higher ones were in use.
        max_unsaved: limit of events in memory while the disk fails.

    Raises:
        OutboxError: the path cannot be used, or the file is not an outbox, of a newer version, or in use.
    """

    def __init__(
        self,
        path: Path,
        config: OutboxConfig,
        *,
        announce: Callable[[int], Event],
        wall_clock: WallClock | None = None,
        first_seq: int = 1,
        max_unsaved: int = MAX_UNSAVED,
    ) -> None:
        self._path = path
        self._config = config
        self._announce = announce
        self._wall_clock = wall_clock or WallClock(SYSTEM_CLOCK, trusted=True)
        self._clock = self._wall_clock.clock
        self._max_unsaved = max_unsaved
        self._lock = threading.RLock()
        self._listener: Callable[[], None] | None = None
        self._acknowledged = 0  # this and the next two mirror the file
        self._dropped = 0
        self._depth = 0
        self._delivered = 0  # acknowledged by the broker; perhaps not stored yet
        self._unsaved: deque[Event] = deque()
        self._lost_unsaved = 0  # events that did not fit into memory
        self._swept_ns: int | None = None
        self._database = RecoveringDatabase(
            path, max_events=config.max_events, first_seq=first_seq, on_open=self._set_counters
        )
        with contextlib.suppress(DiskError):
            self._database.transaction("written", lambda _: None)
        self._reserve_problem = self._database.restore_reserve()

    def append(self, event: Event) -> int:
        """Store an event on disk and return its number.

        Raises:
            OutboxError: the event is only in memory; it is stored later, unless the process ends first.
        """
        with self._lock:
            if len(self._unsaved) == self._max_unsaved:
                self._lost_unsaved += self._unsaved.popleft().dropped or 1
            self._unsaved.append(event)
            seq = self._flush()
        if self._listener is not None:
            self._listener()
        return seq

    def pending(self, after_seq: int = 0, limit: int = 100) -> list[Event]:
        """The oldest unacknowledged events after `after_seq`, at most `limit`, in order.

        Raises:
            OutboxError: the events cannot be read.
        """

        def work(db: Connection) -> list[Row]:
            query = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
            return db.execute(query, (max(after_seq, self.acknowledged_seq()), limit)).fetchall()

        with self._lock:
            while True:
                events, unreadable = decode_rows(self._database.transaction("read", work))
                if not unreadable:
                    return events
                count, first = len(unreadable), unreadable[0][0]
                log.warning("unreadable events dropped: path=%s count=%d first_seq=%d", self._path, count, first)
                self._dropped += self._database.transaction("written", partial(drop, rows=unreadable))
                self._depth -= count

    def acknowledge(self, seq: int) -> None:
        """Mark every event up to and including `seq` as delivered.

        Raises:
            OutboxError: not stored yet; after a restart the events would be sent again.
        """
        with self._lock:
            if seq > self._delivered:
                self._delivered = seq
                self._flush()

    def maintain(self) -> None:
        """Store the events in memory if the disk works again, and drop events that are too old; never fails."""
        with self._lock, contextlib.suppress(OutboxError):
            if self._database.problem or self._unsaved:
                self._flush()
            self._reserve_problem = self._database.restore_reserve()
            now_ns = self._clock.monotonic_ns()
            if self._swept_ns is None or now_ns - self._swept_ns >= _SWEEP_NS:
                self._apply_retention()
                self._swept_ns = now_ns

    def depth(self) -> int:
        """Number of events on disk that the broker has not acknowledged."""
        return self._depth

    def unsaved_count(self) -> int:
        """Number of events that are only in memory, because the disk fails."""
        return len(self._unsaved)

    def dropped(self) -> int:
        """Number of dropped events that no `events-dropped` event has reported yet."""
        return self._dropped + self._lost_unsaved

    def problem(self) -> str:
        """Current or imminent problem of storing events, one line; "": none."""
        return self._database.problem or self._reserve_problem

    def drain_notices(self) -> list[StoreEvent]:
        """Take the changes of the store since the last call, to be recorded as events."""
        with self._lock:
            return self._database.drain_notices()

    def acknowledged_seq(self) -> int:
        """Number of the last event that the broker has acknowledged with all before it; 0: none."""
        return max(self._delivered, self._acknowledged)

    def recent(self, limit: int = 20) -> list[Event]:
        """The latest stored events, delivered or not, newest first.

        Raises:
            OutboxError: the events cannot be read.
        """
        query = "SELECT seq, body FROM event ORDER BY seq DESC LIMIT ?"
        with self._lock:
            return decode_rows(self._database.transaction("read", lambda db: db.execute(query, (limit,)).fetchall()))[0]

    def on_append(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` after every append, in the thread that appends."""
        self._listener = listener

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            self._database.close()
            if self._unsaved:
                log.error("events lost, disk failed until the end: path=%s count=%d", self._path, len(self._unsaved))
                self._unsaved.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_counters(self, acknowledged: int, dropped: int, depth: int) -> None:
        self._acknowledged, self._dropped, self._depth = acknowledged, dropped, depth

    def _now_s(self) -> int | None:
        """Wall clock, seconds since 1970 UTC; None while it is not set. A clock before 2020 has not been set."""
        now_s = self._clock.unix_ns() // 10**9
        return now_s if self._wall_clock.wall_minus_monotonic_ns() is not None and seq_from_clock(now_s) else None

    # Counters change only after a transaction has succeeded, because it may be repeated or fail.

    def _flush(self) -> int:
        """Store all events in memory; returns the last number."""
        unsaved, seq = len(self._unsaved), self._flush_batch()
        while self._unsaved:
            seq = self._flush_batch()
        self._database.confirm_stored(seq, unsaved)
        return seq

    def _flush_batch(self) -> int:
        """Store acknowledgements, losses and the first events in memory; returns the last number."""
        at_s = self._now_s()
        events = list(islice(self._unsaved, _BATCH))

        def work(db: Connection) -> tuple[int, int, int, int]:
            depth, dropped, announced, seq = self._depth, self._dropped, 0, 0
            if self._delivered > self._acknowledged:
                query = "SELECT COUNT(*) FROM event WHERE seq > ? AND seq <= ?"
                depth -= db.execute(query, (self._acknowledged, self._delivered)).fetchone()[0]
                db.execute("UPDATE door SET acknowledged = ?, dropped = 0", (self._delivered,))
                db.execute(
                    "DELETE FROM event WHERE seq <= "
                    "(SELECT seq FROM event WHERE seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                    (self._delivered, self._config.keep_delivered),
                )
                if dropped:
                    seq = insert(db, encode(self._announce(dropped)), at_s)
                    depth, announced, dropped = depth + 1, dropped, 0
            for event in events:
                seq = insert(db, encode(event), at_s)
            depth += len(events)
            if events and depth > self._config.max_events:  # the announcement alone drops nothing
                excess = depth - self._config.max_events
                query = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
                rows = db.execute(query, (self.acknowledged_seq(), excess)).fetchall()
                depth, dropped = depth - len(rows), dropped + drop(db, rows)
            db.execute("UPDATE door SET dropped = dropped + ?", (self._lost_unsaved,))
            return seq, depth, dropped + self._lost_unsaved, announced

        seq, depth, dropped, announced = self._database.transaction("written", work)
        if announced:
            log.info("event store has room again: path=%s events_lost=%d", self._path, announced)
        elif dropped and not self._dropped:
            log.warning("event store full, dropping the oldest: path=%s events=%d", self._path, self._config.max_events)
        self._acknowledged = self.acknowledged_seq()
        self._depth, self._dropped, self._lost_unsaved = depth, dropped, 0
        for _ in events:
            self._unsaved.popleft()
        return seq

    def _apply_retention(self) -> None:
        """Drop waiting events that are too old, and delete delivered events after their retention time."""
        now_s = self._now_s()
        if now_s is None:
            return
        kept_since_s = int(now_s - self._config.keep_delivered_days * _DAY_S)
        any_deleted = False
        while self._drop_expired(int(now_s - self._config.max_age_days * _DAY_S)) + self._delete_expired(kept_since_s):
            any_deleted = True
        if any_deleted:
            self._database.checkpoint()
        self._database.delete_damaged_copies(kept_since_s)

    def _drop_expired(self, before_s: int) -> int:
        def work(db: Connection) -> tuple[int, int]:
            last = last_expired_seq(db, self._acknowledged, MAX_SEQ, before_s)
            query = "SELECT seq, body FROM event WHERE seq > ? AND seq <= ?"
            rows = db.execute(query, (self._acknowledged, last)).fetchall()
            return len(rows), drop(db, rows)

        gone, lost = self._database.transaction("written", work)
        if lost and not self._dropped:
            days = self._config.max_age_days
            log.warning("waiting events too old, dropping the oldest: path=%s max_age_days=%g", self._path, days)
        self._depth, self._dropped = self._depth - gone, self._dropped + lost
        return gone

    def _delete_expired(self, before_s: int) -> int:
        def work(db: Connection) -> int:
            last = last_expired_seq(db, 0, self._acknowledged, before_s)
            return db.execute("DELETE FROM event WHERE seq <= ? AND seq <= ?", (last, self._acknowledged)).rowcount

        return self._database.transaction("written", work)
