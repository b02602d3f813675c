"""The durable queue of events between the pipeline and the broker: in order, at least once, bounded, and never mute."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.core.config import OutboxConfig
from edge.core.errors import OutboxError
from edge.events.schema import Event, encode
from edge.outbox.database import Connection, DiskError
from edge.outbox.recovery import Counters, RecoveringDatabase, StoreEvent
from edge.outbox.retention import (
    decode_rows,
    delete_delivered_expired,
    delete_delivered_over_limit,
    drop_expired,
    drop_over_limit,
    insert,
)

log = logging.getLogger(__name__)

MAX_UNSAVED = 1000  # events kept in memory while the disk takes none; beyond this the oldest are lost, and counted
_BATCH = 50  # of them stored in one transaction, so that finding out that the disk is still full costs little
_SWEEP_S = 3600.0  # events are looked at for their age once in so long
_DAY_S = 86_400

Announce = Callable[[int], Event]


class Outbox:
    """Events that must reach the broker, in the order in which they happened.

    An event is on disk when `append` returns. `pending` lends those that the broker has not acknowledged; once it
    has, `acknowledge` puts them aside. When more than `max_events` wait, or they grow too old, the oldest are dropped;
    how many were is kept on disk, and as soon as the broker acknowledges again one `events-dropped` event says it.

    A damaged file is moved aside, what can be read of it is taken over, and numbers go on above all those used before.
    A full, read-only or failing disk is waited for: `append` raises and holds the event in memory, `problem` says what
    is wrong, and `maintain`, to be called now and then, takes up again.

    Safe to use from several threads; only one process may have the file open.

    Args:
        path: the database file; its folder is made if it is missing.
        config: the bounds.
        announce: makes the `events-dropped` event that says how many were lost.
        now_s: the wall clock, seconds since 1970 UTC; None while it is not set, and then nothing ages.
        first_seq: the number of the first event of a new store, unless higher ones were in use.

    Raises:
        OutboxError: the path cannot be used, the file is no outbox or a newer one, or it is in use.
    """

    def __init__(
        self,
        path: Path,
        config: OutboxConfig,
        *,
        announce: Announce,
        now_s: Callable[[], float | None] = time.time,
        first_seq: int = 1,
    ) -> None:
        self._path = path
        self._config = config
        self._announce = announce
        self._now_s = now_s
        self._lock = threading.RLock()
        self._listener: Callable[[], None] | None = None
        self._acknowledged = 0  # these three mirror the file
        self._dropped = 0
        self._depth = 0
        self._due = 0  # acknowledged by the broker, perhaps not on disk yet
        self._held: deque[Event] = deque()
        self._spilt = 0  # events that not even the memory could hold
        self._reserve = ""
        self._swept_s = -_SWEEP_S
        self._vault = RecoveringDatabase(path, most=config.max_events, first_seq=first_seq, opened=self._opened)
        with contextlib.suppress(DiskError):
            self._vault.transaction("written", lambda _: None)
        self._reserve = self._vault.restore_reserve()

    def append(self, event: Event) -> int:
        """Store an event and give its number. It is on disk when this returns.

        Raises:
            OutboxError: it is not on disk; it is held in memory and stored later, if that is possible in this life.
        """
        with self._lock:
            if len(self._held) == MAX_UNSAVED:
                self._spilt += self._held.popleft().dropped or 1
            self._held.append(event)
            seq = self._flush()
        if self._listener is not None:
            self._listener()
        return seq

    def pending(self, after_seq: int = 0, limit: int = 100) -> list[Event]:
        """The oldest events that are not acknowledged and come after `after_seq`, at most `limit`, in order.

        Raises:
            OutboxError: they could not be read.
        """

        def work(db: Connection) -> list[tuple[int, bytes]]:
            query = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
            return db.execute(query, (max(after_seq, self._acknowledged, self._due), limit)).fetchall()

        with self._lock:
            while True:
                events, unreadable = decode_rows(self._vault.transaction("read", work))
                if not unreadable:
                    return events
                self._drop_unreadable(unreadable)

    def acknowledge(self, seq: int) -> None:
        """The broker has every event up to and including `seq`.

        Raises:
            OutboxError: that could not be stored yet; after a restart before it is, the events will be sent again.
        """
        with self._lock:
            if seq > self._due:
                self._due = seq
                self._flush()

    def maintain(self) -> None:
        """Store what is held if the disk takes it again, let go what is too old; never fails. Call it now and then."""
        with self._lock, contextlib.suppress(OutboxError):
            if self._vault.trouble or self._held:
                self._flush()
            self._reserve = self._vault.restore_reserve()
            if time.monotonic() - self._swept_s >= _SWEEP_S:
                self._apply_retention()
                self._swept_s = time.monotonic()

    def depth(self) -> int:
        """How many events on disk the broker has not acknowledged."""
        return self._depth

    def unsaved_count(self) -> int:
        """How many events are only in memory, because the disk does not take them."""
        return len(self._held)

    def dropped(self) -> int:
        """How many events were dropped that no `events-dropped` event has told of yet."""
        return self._dropped + self._spilt

    def problem(self) -> str:
        """What keeps events from being stored, or soon will, in a line; "" when nothing does."""
        return self._vault.trouble or self._reserve

    def drain_notices(self) -> list[StoreEvent]:
        """Take the system events of the store since the last call; record them as events."""
        with self._lock:
            return self._vault.notices()

    def acknowledged_seq(self) -> int:
        """The number up to which the broker has everything; 0 at first."""
        return max(self._due, self._acknowledged)

    def recent(self, limit: int = 20) -> list[Event]:
        """The latest events, sent or not, newest first, as far back as they are kept.

        Raises:
            OutboxError: they could not be read.
        """
        query = "SELECT seq, body FROM event ORDER BY seq DESC LIMIT ?"
        with self._lock:
            return decode_rows(self._vault.transaction("read", lambda db: db.execute(query, (limit,)).fetchall()))[0]

    def on_append(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in the appender's thread, after every append."""
        self._listener = listener

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            self._vault.close()
            if self._held:
                log.error("%s: %d events could not be stored and are lost", self._path, len(self._held))
                self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, counters: Counters) -> None:
        self._acknowledged, self._dropped, self._depth = counters.acknowledged, counters.dropped, counters.depth

    # The counters may be changed only after the transaction has ended well: it may be done twice, or fail.

    def _flush(self) -> int:
        """Bring to disk what is not there yet; gives the last number."""
        held, seq = len(self._held), self._flush_batch()
        while self._held:
            seq = self._flush_batch()
        self._vault.is_healthy(seq, held)
        return seq

    def _flush_batch(self) -> int:
        """Bring acknowledgements, losses and the first of the held events to disk; gives the last number."""
        now_s = self._now_s()
        at_s = None if now_s is None else int(now_s)
        events = list(islice(self._held, _BATCH))

        def work(db: Connection) -> tuple[int, int, int, int]:
            depth, untold, told, seq = self._depth, self._dropped, 0, 0
            if self._due > self._acknowledged:
                query = "SELECT COUNT(*) FROM event WHERE seq > ? AND seq <= ?"
                (done,) = db.execute(query, (self._acknowledged, self._due)).fetchone()
                db.execute("UPDATE door SET acknowledged = ?, dropped = 0", (self._due,))
                delete_delivered_over_limit(db, self._due, self._config.keep_delivered)
                depth -= done
                if untold:
                    seq = insert(db, None, encode(self._announce(untold)), at_s)
                    depth, told, untold = depth + 1, untold, 0
            for event in events:
                seq = insert(db, None, encode(event), at_s)
                depth += 1
            excess = depth - self._config.max_events if events else 0  # never the announcement for its own sake
            gone, lost = drop_over_limit(db, max(self._due, self._acknowledged), excess)
            db.execute("UPDATE door SET dropped = dropped + ?", (self._spilt,))
            return seq, depth - gone, untold + lost + self._spilt, told

        seq, depth, dropped, told = self._vault.transaction("written", work)
        if told:
            log.info("%s: has room again; %d events were lost", self._path, told)
        elif dropped and not self._dropped:
            log.warning("%s: full with %d events, dropping the oldest", self._path, self._config.max_events)
        self._acknowledged = max(self._acknowledged, self._due)
        self._depth, self._dropped, self._spilt = depth, dropped, 0
        for _ in events:
            self._held.popleft()
        return seq

    def _apply_retention(self) -> None:
        """Let go what is older than the bounds say: unsent events, counted, and sent ones."""
        now_s = self._now_s()
        if now_s is None:
            return
        unsent_s = int(now_s - self._config.max_age_days * _DAY_S)
        sent_s = int(now_s - self._config.keep_delivered_days * _DAY_S)
        forgotten = more = self._drop_aged(unsent_s) + self._forget_aged(sent_s)
        while more:
            more = self._drop_aged(unsent_s) + self._forget_aged(sent_s)
            forgotten += more
        if forgotten:
            self._vault.checkpoint()
        self._vault.delete_damaged_copies(sent_s)

    def _drop_aged(self, before_s: int) -> int:
        gone, lost = self._vault.transaction("written", lambda db: drop_expired(db, self._acknowledged, before_s))
        if lost and not self._dropped:
            log.warning(
                "%s: events older than %g days wait and are dropped, the oldest first",
                self._path,
                self._config.max_age_days,
            )
        self._depth, self._dropped = self._depth - gone, self._dropped + lost
        return gone

    def _forget_aged(self, before_s: int) -> int:
        return self._vault.transaction("written", lambda db: delete_delivered_expired(db, self._acknowledged, before_s))

    def _drop_unreadable(self, seqs: list[int]) -> None:
        """Take events that cannot be read out of the way of the others, and count them as dropped."""
        log.warning(
            "%s: %d stored events cannot be read and are dropped, the first is %d", self._path, len(seqs), seqs[0]
        )

        def work(db: Connection) -> None:
            db.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq in seqs])
            db.execute("UPDATE door SET dropped = dropped + ?", (len(seqs),))

        self._vault.transaction("written", work)
        self._depth -= len(seqs)
        self._dropped += len(seqs)
