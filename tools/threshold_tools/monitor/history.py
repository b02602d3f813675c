"""What the monitor has seen, in one SQLite file on the desktop: events and the health of every minute.

Written in batches by a thread of its own, so that a slow disk delays no page; what came in the last quarter of a second
is lost if the machine is cut off. Read over connections of their own. Bounded by days and by rows. One monitor a file.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.errors import InputError
from threshold_tools.monitor.fleet import EventRow, HealthSample
from threshold_tools.monitor.history_database import SLOT_MS, apply_retention, lock_history, open_database, open_reader
from threshold_tools.monitor.history_database import Retention as Retention

log = logging.getLogger(__name__)

BATCH_S = 0.25
MAX_QUEUED = 20_000  # rows that wait for a disk that takes nothing; then the oldest go, and are counted
RETENTION_MS = 600_000
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


_Row = EventRow | tuple[str, HealthSample] | AuditNote


class History:
    """The file; a context manager. `add_*` never wait; everything that reads may be called from any thread.

    Attributes:
        name: a name for this file's monitor, made with it: what a broker keeps a session by.
        dropped: rows that were not written, because too many waited for the disk; the oldest of them went.

    Raises:
        InputError: the file cannot be used, is none of ours, or another monitor uses it.
    """

    def __init__(self, path: Path, bounds: Retention, *, now_ms: int) -> None:
        self.path = path
        self.dropped = 0
        self._bounds = bounds
        self._now_ms = now_ms
        self._queue: deque[_Row] = deque()
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._failing = False
        with contextlib.ExitStack() as stack:
            try:
                self._lock = stack.enter_context(lock_history(path))
                self._db = stack.enter_context(contextlib.closing(open_database(path)))
                self._retention_due = apply_retention(self._db, bounds, now_ms)
            except (OSError, sqlite3.DatabaseError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise InputError(
                    f"{path}: the history cannot be used ({why}); name another file, or move it"
                ) from error
            (self.name,) = self._db.execute("SELECT name FROM monitor").fetchone()
            stack.pop_all()
        self._thread = threading.Thread(target=self._write, name="history")
        self._thread.start()

    def add_event(self, row: EventRow) -> None:
        """To be kept; one that is there already, by door and id, changes nothing."""
        self._add(row)

    def add_reading(self, door: str, reading: HealthSample) -> None:
        """To be kept as the reading of its minute."""
        self._add((door, reading))

    def add_note(self, note: AuditNote) -> None:
        """To be kept: what was done, and from where."""
        self._add(note)

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
        asked: dict[str, int | str] = {"n < ?": 2**62 if before_n is None else before_n}
        asked |= {"door = ?": door} if door else {}
        asked |= {"kind = ?": kind} if kind else {}
        query = f"SELECT body FROM event WHERE {' AND '.join(asked)} ORDER BY n DESC LIMIT ?"
        with open_reader(self.path) as db:
            rows = db.execute(query, (*asked.values(), most)).fetchall()
        return [msgspec.json.decode(body, type=EventRow) for (body,) in rows]

    def last_of_each_door(self) -> list[EventRow]:
        """Every door's latest event."""
        with open_reader(self.path) as db:
            rows = db.execute(_EACH_DOOR).fetchall()
        return [msgspec.json.decode(body, type=EventRow) for (body,) in rows]

    def readings(self, door: str, *, from_ms: int, to_ms: int, most: int) -> list[HealthSample]:
        """A door's health, oldest first: means over as many equal spans, of the outbox the deepest."""
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

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, row: _Row) -> None:
        with self._changed:
            self._queue.append(row)
            self._bound(self._queue)
            self._changed.notify()

    def _bound(self, rows: deque[_Row]) -> None:
        """Drop the oldest of too many."""
        if len(rows) > MAX_QUEUED and not self.dropped:
            log.warning("%s: rows come faster than they are written; the oldest that wait are dropped", self.path)
        while len(rows) > MAX_QUEUED:
            rows.popleft()
            self.dropped += 1

    def _write(self) -> None:
        """The thread: gather for a while, write all at once; tidy up in portions between."""
        tidied_ms, batch = self._now_ms, deque[_Row]()
        while not self._ending.is_set() or self._queue:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._retention_due or self._ending.is_set())
            self._ending.wait(BATCH_S)
            with self._changed:
                fresh = list(self._queue)
                self._queue.clear()
                batch.extend(fresh)
                self._bound(batch)
            self._now_ms = max([self._now_ms, *map(_received_ms, fresh)])
            if self._safely(batch):
                batch.clear()
            if self._retention_due or self._now_ms - tidied_ms > RETENTION_MS:
                tidied_ms = self._now_ms
                try:
                    self._retention_due = apply_retention(self._db, self._bounds, self._now_ms)
                except sqlite3.DatabaseError:  # the next batch says so
                    self._retention_due = False

    def _safely(self, batch: Iterable[_Row]) -> bool:
        events = [row for row in batch if isinstance(row, EventRow)]
        readings = [row for row in batch if isinstance(row, tuple)]
        notes = [(row.at_ms, row.who, row.what) for row in batch if isinstance(row, AuditNote)]
        encode = msgspec.json.encode
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?)",
                    [(row.n, row.door, row.id, row.kind, row.received_ms, encode(row)) for row in events],
                )
                self._db.executemany("INSERT INTO audit VALUES (?, ?, ?)", notes)
                self._db.executemany(
                    "INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (
                            door,
                            each.at_ms // SLOT_MS,
                            each.fps,
                            each.temperature_c,
                            each.outbox_depth,
                            encode(each.stages),
                        )
                        for door, each in readings
                    ],
                )
        except sqlite3.DatabaseError as error:
            if not self._failing:
                log.warning(
                    "%s: the history cannot be written (%s); the page goes on, and it is tried again", self.path, error
                )
            self._failing = True
            return False
        if self._failing:
            log.info("%s: the history is written again; %d rows were dropped since the start", self.path, self.dropped)
            self._failing = False
        return True


def _received_ms(row: _Row) -> int:
    if isinstance(row, tuple):
        return row[1].at_ms
    return row.at_ms if isinstance(row, AuditNote) else row.received_ms
