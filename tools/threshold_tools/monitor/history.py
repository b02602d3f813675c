"""Stores events, health samples of every minute, and audit notes in one SQLite file.

A thread writes the rows in batches, so that a slow disk does not delay pages. A power failure can lose the rows of the
last quarter of a second. Age and number of rows are limited. Only one monitor may use a file.
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
MAX_QUEUED = 20_000  # rows waiting to be written; when full, the oldest are dropped and counted
RETENTION_MS = 600_000  # time between two deletions of old rows
_ADD_EVENT = "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?)"
_ADD_HEALTH = "INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?, ?, ?)"
_ADD_NOTE = "INSERT INTO audit VALUES (?, ?, ?)"
_FORGET = "INSERT OR REPLACE INTO forgotten SELECT ?, COALESCE(MAX(n), 0) FROM event"
_EACH_DOOR = """
WITH RECURSIVE known (door) AS (
    SELECT MIN(door) FROM event
    UNION ALL SELECT (SELECT MIN(door) FROM event WHERE door > known.door) FROM known WHERE known.door IS NOT NULL)
SELECT body FROM event WHERE n IN (SELECT (SELECT MAX(n) FROM event WHERE door = known.door) FROM known)
AND n > COALESCE((SELECT forgotten.n FROM forgotten WHERE forgotten.door = event.door), 0)
"""  # walks the index (door, n) from door to door, so its cost does not grow with the number of events


@dataclass(frozen=True, slots=True)
class AuditNote:
    """A change made on the page: time in milliseconds since 1970 UTC, address of the browser, and description."""

    at_ms: int
    who: str
    what: str


class _Insert(NamedTuple):
    """A row to be written, and its time of receipt in milliseconds since 1970 UTC."""

    received_ms: int
    sql: str
    values: tuple[object, ...]


class History(contextlib.AbstractContextManager["History"]):
    """The history file; a context manager. `add_*` do not block; reading methods may be called from any thread.

    Raises:
        InputError: the file cannot be used, is not a history, or is in use by another monitor.
    """

    def __init__(self, path: Path, retention: Retention, *, now_ms: int) -> None:
        self.path = path
        self.dropped = 0  # number of rows dropped because too many waited to be written
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
                raise InputError(
                    f"{path}: cannot be used as a history {why}; choose another file, or move this one"
                ) from error
            # random, made with the file; names the persistent session at the broker
            (self.name,) = self._db.execute("SELECT name FROM monitor").fetchone()
            stack.pop_all()
        self._thread = threading.Thread(target=self._write, name="history")
        self._thread.start()

    def add_event(self, row: EventRow) -> None:
        """Store an event, unless one of the same door and id is stored."""
        values = (row.n, row.door, row.id, row.kind, row.received_ms, msgspec.json.encode(row))
        self._add(_Insert(row.received_ms, _ADD_EVENT, values))

    def add_health(self, door: str, sample: HealthSample) -> None:
        """Store a sample as the one of its minute."""
        stages = msgspec.json.encode(sample.stages)
        slot = sample.at_ms // SLOT_MS
        values = (door, slot, sample.fps, sample.temperature_c, sample.outbox_depth, stages)
        self._add(_Insert(sample.at_ms, _ADD_HEALTH, values))

    def add_note(self, note: AuditNote) -> None:
        """Store a note."""
        self._add(_Insert(note.at_ms, _ADD_NOTE, (note.at_ms, note.who, note.what)))

    def forget(self, door: str, now_ms: int) -> None:
        """Leave a retired door out of `last_of_each_door` until its next event; its events stay stored."""
        self._add(_Insert(now_ms, _FORGET, (door,)))

    def notes(self, most: int) -> list[AuditNote]:
        """The latest notes, newest first."""
        with open_reader(self.path) as db:
            rows = db.execute("SELECT at_ms, who, what FROM audit ORDER BY at_ms DESC, rowid DESC LIMIT ?", (most,))
            return [AuditNote(*row) for row in rows.fetchall()]

    def last_number(self) -> int:
        """Highest number of a stored event; 0: none."""
        with open_reader(self.path) as db:
            (last,) = db.execute("SELECT COALESCE(MAX(n), 0) FROM event").fetchone()
        return int(last)

    def events(self, most: int, *, before_n: int | None = None, door: str = "", kind: str = "") -> list[EventRow]:
        """The latest events before a number, newest first; "" matches any door or kind."""
        conditions: dict[str, int | str] = {"n < ?": 2**62 if before_n is None else before_n}
        conditions |= {"door = ?": door} if door else {}
        conditions |= {"kind = ?": kind} if kind else {}
        query = f"SELECT body FROM event WHERE {' AND '.join(conditions)} ORDER BY n DESC LIMIT ?"
        return self._events(query, *conditions.values(), most)

    def last_of_each_door(self) -> list[EventRow]:
        """The latest event of each door that is not retired."""
        return self._events(_EACH_DOOR)

    def health(self, door: str, *, from_ms: int, to_ms: int, most: int) -> list[HealthSample]:
        """Health of a door, oldest first: means over `most` equal periods, and the highest outbox depth of each."""
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
        """Write the waiting rows, and close; idempotent."""
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
            log.warning("%s: rows arrive faster than they are written; the oldest waiting rows are dropped", self.path)
        while len(rows) > MAX_QUEUED:
            rows.popleft()
            self.dropped += 1

    def _write(self) -> None:
        """Write collected rows in batches, and delete old rows between batches; runs in the thread."""
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
                except sqlite3.DatabaseError:  # writing the next batch fails, too, and logs it
                    self._retention_due = False

    def _safely(self, batch: deque[_Insert]) -> bool:
        """Write a batch in one transaction; returns False if that failed."""
        try:
            with self._db:
                for row in batch:
                    self._db.execute(row.sql, row.values)
        except sqlite3.DatabaseError as error:
            if not self._failing:
                log.warning("%s: cannot write the history (%s); retrying, the page continues", self.path, error)
            self._failing = True
            return False
        if self._failing:
            log.info("%s: writing the history works again; rows dropped since the start: %d", self.path, self.dropped)
            self._failing = False
        return True
