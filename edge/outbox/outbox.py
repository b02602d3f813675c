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
_BATCH = 50  # of them stored in one transaction, so that finding out that the disk is still full costs little
_SWEEP_NS = 3600 * 10**9  # between two passes over the age of events
_DAY_S = 86_400


class Outbox:
    """Events that must reach the broker, in the order in which they happened.

    An event is on disk when `append` returns. `pending` returns those that the broker has not acknowledged;
    `acknowledge` marks them as delivered. If more than `max_events` wait, or they become too old, the oldest are
    dropped; their number is kept on disk, and as soon as the broker acknowledges again one `events-dropped` event
    reports it.

    A damaged file is moved aside, what can be read of it is kept, and numbers continue above all those used before.
    While the disk is full, read-only or failing, `append` raises and keeps the event in memory, `problem` says what is
    wrong, and `maintain`, to be called now and then, stores what was kept.

    Thread-safe; only one process may have the file open.

    Args:
        path: the database file; a missing folder is created.
        config: limits.
        announce: makes the `events-dropped` event for a number of lost events.
        wall_clock: wall clock; nothing ages while it is not set.
        first_seq: number of the first event of a new database, unless higher ones were in use.
        max_unsaved: limit of events in memory while the disk fails.

    Raises:
        OutboxError: the path cannot be used, the file is no outbox or a newer one, or it is in use.
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
        self._acknowledged = 0  # these three mirror the file
        self._dropped = 0
        self._depth = 0
        self._delivered = 0  # acknowledged by the broker, perhaps not on disk yet
        self._unsaved: deque[Event] = deque()
        self._lost_unsaved = 0  # events that did not even fit into memory
        self._swept_ns: int | None = None
        self._database = RecoveringDatabase(
            path, max_events=config.max_events, first_seq=first_seq, on_open=self._set_counters
        )
        with contextlib.suppress(DiskError):
            self._database.transaction("written", lambda _: None)
        self._reserve_problem = self._database.restore_reserve()

    def append(self, event: Event) -> int:
        """Store an event and return its number. It is on disk when this returns.

        Raises:
            OutboxError: it is not on disk; it is kept in memory and stored later, if this process lives so long.
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
        """The oldest events that are not acknowledged and come after `after_seq`, at most `limit`, in order.

        Raises:
            OutboxError: they could not be read.
        """

        def work(db: Connection) -> list[Row]:
            query = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
            return db.execute(query, (max(after_seq, self.acknowledged_seq()), limit)).fetchall()

        with self._lock:
            while True:
                events, unreadable = decode_rows(self._database.transaction("read", work))
                if not unreadable:  # or those that cannot be read would block the others
                    return events
                count, first = len(unreadable), unreadable[0][0]
                log.warning("%s: %d stored events cannot be read and are dropped, from %d", self._path, count, first)
                self._dropped += self._database.transaction("written", partial(drop, rows=unreadable))
                self._depth -= count

    def acknowledge(self, seq: int) -> None:
        """Note that the broker has every event up to and including `seq`.

        Raises:
            OutboxError: that could not be stored yet; after a restart before it is, the events are sent again.
        """
        with self._lock:
            if seq > self._delivered:
                self._delivered = seq
                self._flush()

    def maintain(self) -> None:
        """Store what is kept in memory if the disk works again, and drop what is too old; never fails."""
        with self._lock, contextlib.suppress(OutboxError):
            if self._database.problem or self._unsaved:
                self._flush()
            self._reserve_problem = self._database.restore_reserve()
            now_ns = self._clock.monotonic_ns()
            if self._swept_ns is None or now_ns - self._swept_ns >= _SWEEP_NS:
                self._apply_retention()
                self._swept_ns = now_ns

    def depth(self) -> int:
        """How many events on disk the broker has not acknowledged."""
        return self._depth

    def unsaved_count(self) -> int:
        """How many events are only in memory, because the disk fails."""
        return len(self._unsaved)

    def dropped(self) -> int:
        """How many events were dropped that no `events-dropped` event has reported yet."""
        return self._dropped + self._lost_unsaved

    def problem(self) -> str:
        """What keeps events from being stored, or soon will, in a line; "" if nothing does."""
        return self._database.problem or self._reserve_problem

    def drain_notices(self) -> list[StoreEvent]:
        """Take the changes of the store since the last call; record them as events."""
        with self._lock:
            return self._database.drain_notices()

    def acknowledged_seq(self) -> int:
        """The number up to which the broker has everything; 0 at first."""
        return max(self._delivered, self._acknowledged)

    def recent(self, limit: int = 20) -> list[Event]:
        """The latest events, delivered or not, newest first, as far back as they are kept.

        Raises:
            OutboxError: they could not be read.
        """
        query = "SELECT seq, body FROM event ORDER BY seq DESC LIMIT ?"
        with self._lock:
            return decode_rows(self._database.transaction("read", lambda db: db.execute(query, (limit,)).fetchall()))[0]

    def on_append(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in the appender's thread, after every append."""
        self._listener = listener

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            self._database.close()
            if self._unsaved:
                log.error("%s: %d events could not be stored and are lost", self._path, len(self._unsaved))
                self._unsaved.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_counters(self, acknowledged: int, dropped: int, depth: int) -> None:
        self._acknowledged, self._dropped, self._depth = acknowledged, dropped, depth

    def _now_s(self) -> int | None:
        """Wall clock, seconds since 1970 UTC; None while it is not set. A clock before 2020 lost its battery."""
        now_s = self._clock.unix_ns() // 10**9
        return now_s if self._wall_clock.wall_minus_monotonic_ns() is not None and seq_from_clock(now_s) else None

    # The counters may be changed only after a transaction has succeeded: it may be repeated, or fail.

    def _flush(self) -> int:
        """Bring everything to disk that is not there yet; returns the last number."""
        unsaved, seq = len(self._unsaved), self._flush_batch()
        while self._unsaved:
            seq = self._flush_batch()
        self._database.confirm_stored(seq, unsaved)
        return seq

    def _flush_batch(self) -> int:
        """Bring acknowledgements, losses and the first events in memory to disk; returns the last number."""
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
            if events and depth > self._config.max_events:  # never drop because of the announcement alone
                excess = depth - self._config.max_events
                query = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
                rows = db.execute(query, (self.acknowledged_seq(), excess)).fetchall()
                depth, dropped = depth - len(rows), dropped + drop(db, rows)
            db.execute("UPDATE door SET dropped = dropped + ?", (self._lost_unsaved,))
            return seq, depth, dropped + self._lost_unsaved, announced

        seq, depth, dropped, announced = self._database.transaction("written", work)
        if announced:
            log.info("%s: has room again; %d events were lost", self._path, announced)
        elif dropped and not self._dropped:
            log.warning("%s: full with %d events, dropping the oldest", self._path, self._config.max_events)
        self._acknowledged = self.acknowledged_seq()
        self._depth, self._dropped, self._lost_unsaved = depth, dropped, 0
        for _ in events:
            self._unsaved.popleft()
        return seq

    def _apply_retention(self) -> None:
        """Drop events that wait for too long, and delete delivered ones that were kept for long enough."""
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
            log.warning("%s: events older than %g days wait and are dropped, the oldest first", self._path, days)
        self._depth, self._dropped = self._depth - gone, self._dropped + lost
        return gone

    def _delete_expired(self, before_s: int) -> int:
        def work(db: Connection) -> int:
            last = last_expired_seq(db, 0, self._acknowledged, before_s)
            return db.execute("DELETE FROM event WHERE seq <= ? AND seq <= ?", (last, self._acknowledged)).rowcount

        return self._database.transaction("written", work)
