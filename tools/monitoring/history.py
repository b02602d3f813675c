"""What the monitor has seen, in one SQLite file on the desktop: events and the health of every minute.

Written in batches by a thread of its own, so that a slow disk delays no page; what came in the last quarter of a second
is lost if the machine is cut off. Read over connections of their own. Bounded by days and by rows.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import InputError
from edge.system.files import make_private_file
from monitoring.fleet import EventRow, Reading

log = logging.getLogger(__name__)

SLOT_MS = 60_000  # one health reading is kept of each so long
BATCH_S = 0.25
MOST_WAITING = 20_000  # rows that wait for a disk that takes nothing; then the oldest go
TIDY_S = 600.0
DAY_MS = 86_400_000
_APPLICATION_ID = 0x5468724D  # "ThrM"
_AUDIT = "CREATE TABLE IF NOT EXISTS audit (at_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL)"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (n INTEGER PRIMARY KEY, door TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    received_ms INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (door, id));
CREATE INDEX event_age ON event (received_ms);
CREATE TABLE health (door TEXT NOT NULL, slot INTEGER NOT NULL, fps REAL NOT NULL, temperature_c REAL,
    outbox_depth INTEGER NOT NULL, stages BLOB NOT NULL, PRIMARY KEY (door, slot)) WITHOUT ROWID;
CREATE INDEX health_age ON health (slot);
CREATE TABLE monitor (name TEXT NOT NULL);
{_AUDIT};
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: nothing older than `days`, and of each table the latest `rows`."""

    days: float
    rows: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was done on the page: when (milliseconds since 1970 UTC), from which address, and what."""

    at_ms: int
    who: str
    what: str


_Row = EventRow | tuple[str, Reading] | Note


class History:
    """The file; a context manager. `add_*` never wait; everything that reads may be called from any thread.

    Attributes:
        name: a name for this file's monitor, made with it: what a broker keeps a session by.

    Raises:
        InputError: the file cannot be used, or is none of ours.
    """

    def __init__(self, path: Path, bounds: Bounds, *, now_ms: int) -> None:
        self.path = path
        self._bounds = bounds
        self._now_ms = now_ms
        self._waiting: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._trouble = False
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: the history cannot be used ({error}); name another file, or move it") from error
        (self.name,) = self._db.execute("SELECT name FROM monitor").fetchone()
        self._tidy()
        self._thread = threading.Thread(target=self._write, name="history")
        self._thread.start()

    def add_event(self, row: EventRow) -> None:
        """To be kept; one that is there already, by door and id, changes nothing."""
        self._add(row)

    def add_reading(self, door: str, reading: Reading) -> None:
        """To be kept as the reading of its minute."""
        self._add((door, reading))

    def add_note(self, note: Note) -> None:
        """To be kept: what was done, and from where."""
        self._add(note)

    def notes(self, most: int) -> list[Note]:
        """What was done last, newest first."""
        with self._reader() as db:
            rows = db.execute("SELECT at_ms, who, what FROM audit ORDER BY at_ms DESC, rowid DESC LIMIT ?", (most,))
            return [Note(*row) for row in rows.fetchall()]

    def last_number(self) -> int:
        """The highest number of an event so far; 0: none."""
        with self._reader() as db:
            (last,) = db.execute("SELECT COALESCE(MAX(n), 0) FROM event").fetchone()
        return int(last)

    def events(self, most: int, *, before_n: int | None = None, door: str = "", kind: str = "") -> list[EventRow]:
        """The latest events before a number, newest first; "" as door or kind means any."""
        query = "SELECT body FROM event WHERE n < ? AND (? = '' OR door = ?) AND (? = '' OR kind = ?)"
        before = 2**62 if before_n is None else before_n
        with self._reader() as db:
            rows = db.execute(f"{query} ORDER BY n DESC LIMIT ?", (before, door, door, kind, kind, most)).fetchall()
        return [msgspec.json.decode(body, type=EventRow) for (body,) in rows]

    def last_of_each_door(self) -> list[EventRow]:
        """Every door's latest event."""
        with self._reader() as db:
            rows = db.execute("SELECT body FROM event WHERE n IN (SELECT MAX(n) FROM event GROUP BY door)").fetchall()
        return [msgspec.json.decode(body, type=EventRow) for (body,) in rows]

    def readings(self, door: str, *, from_ms: int, to_ms: int, most: int) -> list[Reading]:
        """A door's health, oldest first: means over as many equal spans, of the outbox the deepest."""
        span = max((to_ms - from_ms) // SLOT_MS // max(most, 1), 1)
        with self._reader() as db:
            rows = db.execute(
                "SELECT MIN(slot), AVG(fps), AVG(temperature_c), MAX(outbox_depth), stages FROM health "
                "WHERE door = ? AND slot BETWEEN ? AND ? GROUP BY slot / ? ORDER BY slot",
                (door, from_ms // SLOT_MS, to_ms // SLOT_MS, span),
            ).fetchall()
        return [
            Reading(
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
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._db.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, row: _Row) -> None:
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(row)

    def _write(self) -> None:
        """The thread: gather for a while, write all at once."""
        pause = threading.Event()
        tidied_ms, going, batch = self._now_ms, True, list[_Row]()
        while going:
            first = self._waiting.get()
            if first is not None and self._waiting.empty():
                pause.wait(BATCH_S)
            batch = batch[-MOST_WAITING:]
            while first is not None:
                batch.append(first)
                self._now_ms = max(self._now_ms, _came_ms(first))
                if self._waiting.empty():
                    break
                first = self._waiting.get()
            going = first is not None
            if self._tried(batch):
                batch = []
            if self._now_ms - tidied_ms > TIDY_S * 1000:
                tidied_ms = self._now_ms
                with contextlib.suppress(sqlite3.DatabaseError):  # the next batch says so
                    self._tidy()

    def _tried(self, batch: list[_Row]) -> bool:
        events = [row for row in batch if isinstance(row, EventRow)]
        readings = [row for row in batch if isinstance(row, tuple)]
        notes = [(row.at_ms, row.who, row.what) for row in batch if isinstance(row, Note)]
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
            if not self._trouble:
                log.warning(
                    "%s: the history cannot be written (%s); the page goes on, and it is tried again", self.path, error
                )
            self._trouble = True
            return False
        if self._trouble:
            log.info("%s: the history is written again", self.path)
            self._trouble = False
        return True

    def _tidy(self) -> None:
        """Delete what is beyond the bounds."""
        oldest_ms = self._now_ms - round(self._bounds.days * DAY_MS)
        with self._db:
            self._db.execute("DELETE FROM event WHERE received_ms < ?", (oldest_ms,))
            self._db.execute("DELETE FROM health WHERE slot < ?", (oldest_ms // SLOT_MS,))
            self._db.execute("DELETE FROM audit WHERE at_ms < ?", (oldest_ms,))
            self._db.execute(
                "DELETE FROM event WHERE n <= (SELECT n FROM event ORDER BY n DESC LIMIT 1 OFFSET ?)",
                (self._bounds.rows,),
            )
            self._db.execute(
                "DELETE FROM health WHERE slot <= (SELECT slot FROM health ORDER BY slot DESC LIMIT 1 OFFSET ?)",
                (self._bounds.rows,),
            )

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            yield db


def _came_ms(row: _Row) -> int:
    if isinstance(row, tuple):
        return row[1].at_ms
    return row.at_ms if isinstance(row, Note) else row.received_ms


def _opened(path: Path) -> sqlite3.Connection:
    """The file with its tables; for its owner alone, for it holds who went where."""
    with contextlib.suppress(OSError):  # SQLite says it better
        make_private_file(path)
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        (owner,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and owner != _APPLICATION_ID:
            raise sqlite3.DatabaseError("a SQLite file of something else")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last batches, never the file
        db.execute("PRAGMA secure_delete = ON")
        if not tables:
            db.executescript(_SCHEMA)
            with db:
                db.execute("INSERT INTO monitor VALUES (?)", (secrets.token_hex(8),))
        db.execute(_AUDIT)  # a file from before there was one
    except BaseException:
        db.close()
        raise
    return db
