"""What the monitor has received, in one SQLite file on the desktop: events, the health of every minute, and notes.

Rows are written in batches by a thread, so that a slow disk delays no page; what was received in the last quarter of a
second is lost if the machine loses power. Bounded by days and by rows. One monitor uses a file.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.core.errors import InputError
from threshold_tools.monitor.fleet import EventRow, HealthSample
from threshold_tools.monitor.history_database import (
    SLOT_MS,
    Retention,
    apply_retention,
    lock_history,
    open_database,
    open_reader,
)

log = logging.getLogger(__name__)

BATCH_S = 0.25
MAX_QUEUED = 20_000  # rows that wait for a disk that takes nothing; then the oldest are dropped, and counted
RETENTION_MS = 600_000  # between two deletions of old rows
_ADD_EVENT = "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?)"
_ADD_HEALTH = "INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?, ?, ?)"
_ADD_NOTE = "INSERT INTO audit VALUES (?, ?, ?)"
_EACH_DOOR = """
WITH RECURSIVE known (door) AS (
    SELECT MIN(door) FROM event
    UNION ALL SELECT (SELECT MIN(door) FROM event WHERE door > known.door) FROM known WHERE known.door IS NOT NULL)
SELECT body FROM event WHERE n IN (SELECT (SELECT MAX(n) FROM event WHERE door = known.door) FROM known)
"""  # from door to door along the index (door, n), whatever lies between


@dataclass(frozen=True, slots=True)
class AuditNote:
    """Something that was done on the page: when (milliseconds since 1970 UTC), from which address, and what."""

    at_ms: int
    who: str
    what: str


class _Insert(NamedTuple):
    """A row that waits to be written, and when it was received, milliseconds since 1970 UTC."""

    received_ms: int
    sql: str
    values: tuple[object, ...]


class History(contextlib.AbstractContextManager["History"]):
    """The file; a context manager. `add_*` never wait; everything that reads may be called from any thread.

    Raises:
        InputError: the file cannot be used, is not a history, or another monitor uses it.
    """

    def __init__(self, path: Path, retention: Retention, *, now_ms: int) -> None:
        self.path = path
        self.dropped = 0  # rows that were not written because too many waited for the disk
        self._retention = retention
        self._now_ms = now_ms
        self._queue: deque[_Insert] = deque()
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._failing = False
        with contextlib.ExitStack() as stack:
            try:
                self._lock = stack.enter_context(lock_history(path))
                self._db = stack.enter_context(contextlib.closing(open_database(path)))
                self._retention_due = apply_retention(self._db, retention, now_ms)
            except (OSError, sqlite3.DatabaseError) as error:
                why = f"({error.strerror if isinstance(error, OSError) else error})"
                raise InputError(f"{path}: the history cannot be used {why}; name another file, or move it") from error
            # random, made with the file: the name of this monitor's session at a broker
            (self.name,) = self._db.execute("SELECT name FROM monitor").fetchone()
            stack.pop_all()
        self._thread = threading.Thread(target=self._write, name="history")
        self._thread.start()

    def add_event(self, row: EventRow) -> None:
        """Store an event; one that is there already, by door and id, changes nothing."""
        values = (row.n, row.door, row.id, row.kind, row.received_ms, msgspec.json.encode(row))
        self._add(_Insert(row.received_ms, _ADD_EVENT, values))

    def add_health(self, door: str, sample: HealthSample) -> None:
        """Store a sample as the one of its minute."""
        stages = msgspec.json.encode(sample.stages)
        slot = sample.at_ms // SLOT_MS
        values = (door, slot, sample.fps, sample.temperature_c, sample.outbox_depth, stages)
        self._add(_Insert(sample.at_ms, _ADD_HEALTH, values))

    def add_note(self, note: AuditNote) -> None:
        """Store what was done, and from where."""
        self._add(_Insert(note.at_ms, _ADD_NOTE, (note.at_ms, note.who, note.what)))

    def notes(self, most: int) -> list[AuditNote]:
        """What was done last, newest first."""
        with open_reader(self.path) as db:
            rows = db.execute("SELECT at_ms, who, what FROM audit ORDER BY at_ms DESC, rowid DESC LIMIT ?", (most,))
            return [AuditNote(*row) for row in rows.fetchall()]

    def last_number(self) -> int:
        """The highest number of an event so far; 0: none."""
        with open_reader(self.path) as db:
            (last,) = db.execute("SELECT COALESCE(MAX(n), 0) FROM event").fetchone()
        return int(last)

    def events(self, most: int, *, before_n: int | None = None, door: str = "", kind: str = "") -> list[EventRow]:
        """The latest events before a number, newest first; "" as door or kind means any."""
        conditions: dict[str, int | str] = {"n < ?": 2**62 if before_n is None else before_n}
        conditions |= {"door = ?": door} if door else {}
        conditions |= {"kind = ?": kind} if kind else {}
        query = f"SELECT body FROM event WHERE {' AND '.join(conditions)} ORDER BY n DESC LIMIT ?"
        return self._events(query, *conditions.values(), most)

    def last_of_each_door(self) -> list[EventRow]:
        """Every door's latest event."""
        return self._events(_EACH_DOOR)

    def health(self, door: str, *, from_ms: int, to_ms: int, most: int) -> list[HealthSample]:
        """A door's health, oldest first: means over `most` equal spans, the deepest outbox of each."""
        span = max((to_ms - from_ms) // SLOT_MS // max(most, 1), 1)
        with open_reader(self.path) as db:
            rows = db.execute(
                "SELECT MIN(slot), AVG(fps), AVG(temperature_c), MAX(outbox_depth), stages FROM health "
                "WHERE door = ? AND slot BETWEEN ? AND ? GROUP BY slot / ? ORDER BY slot",
                (door, from_ms // SLOT_MS, to_ms // SLOT_MS, span),
            ).fetchall()
        return [
            HealthSample(
                at_ms=slot * SLOT_MS,
                fps=round(fps, 2),
                temperature_c=None if warm is None else round(warm, 1),
                outbox_depth=depth,
                stages=msgspec.json.decode(stages, type=dict[str, float]),
            )
            for slot, fps, warm, depth, stages in rows
        ]

    def close(self) -> None:
        """Write what waits, and close. Closing twice does nothing."""
        self._ending.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()
        self._db.close()
        self._lock.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _events(self, query: str, *values: int | str) -> list[EventRow]:
        with open_reader(self.path) as db:
            return [msgspec.json.decode(body, type=EventRow) for (body,) in db.execute(query, values).fetchall()]

    def _add(self, row: _Insert) -> None:
        with self._changed:
            self._queue.append(row)
            self._drop_oldest(self._queue)
            self._changed.notify()

    def _drop_oldest(self, rows: deque[_Insert]) -> None:
        if len(rows) > MAX_QUEUED and not self.dropped:
            log.warning("%s: rows arrive faster than they are written; the oldest that wait are dropped", self.path)
        while len(rows) > MAX_QUEUED:
            rows.popleft()
            self.dropped += 1

    def _write(self) -> None:
        """The thread: collect rows for a while and write them at once; delete old ones in batches in between."""
        last_ms, batch = self._now_ms, deque[_Insert]()
        while not self._ending.is_set() or self._queue:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._retention_due or self._ending.is_set())
            self._ending.wait(BATCH_S)
            with self._changed:
                self._now_ms = max([self._now_ms, *(row.received_ms for row in self._queue)])
                batch.extend(self._queue)
                self._queue.clear()
                self._drop_oldest(batch)
            if self._safely(batch):
                batch.clear()
            if self._retention_due or self._now_ms - last_ms > RETENTION_MS:
                last_ms = self._now_ms
                try:
                    self._retention_due = apply_retention(self._db, self._retention, self._now_ms)
                except sqlite3.DatabaseError:  # the next batch logs it
                    self._retention_due = False

    def _safely(self, batch: deque[_Insert]) -> bool:
        """Write a batch in one transaction; False: the disk does not take it."""
        try:
            with self._db:
                for row in batch:
                    self._db.execute(row.sql, row.values)
        except sqlite3.DatabaseError as error:
            if not self._failing:
                log.warning("%s: the history cannot be written (%s); the page goes on, retrying", self.path, error)
            self._failing = True
            return False
        if self._failing:
            log.info("%s: the history is written again; %d rows were dropped since the start", self.path, self.dropped)
            self._failing = False
        return True
