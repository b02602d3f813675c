"""The durable queue of events between the pipeline and the broker: one SQLite file.

Write-ahead logging with ``synchronous=FULL``: a commit is one append to the log and one fsync, where the rollback
journal writes every page twice and syncs three or four times; that is slower and wears an SD card out sooner. Each
frame of the log carries a checksum, so a torn write at a power cut costs the unfinished event and nothing before it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from edge.config import OutboxConfig
from edge.errors import OutboxError
from edge.messaging.events import Channel, Event, decode, encode

log = logging.getLogger(__name__)

APPLICATION_ID = 0x54687264  # "Thrd": this file is ours
SCHEMA_VERSION = 1
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE door (acknowledged INTEGER NOT NULL, dropped INTEGER NOT NULL);
INSERT INTO door VALUES (0, 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

Announce = Callable[[int], Event]


class Outbox:
    """Events that must reach the broker, in the order in which they happened.

    An event is on disk when `append` returns. `pending` lends those that the broker has not acknowledged; once it
    has, `acknowledge` puts them aside. When more than `max_events` wait, the oldest are dropped; how many were is
    kept on disk, and as soon as the broker acknowledges again one `events-dropped` event says it.

    Safe to use from several threads; only one process may have the file open.

    Args:
        path: the database file; its folder is made if it is missing.
        config: the bounds.
        announce: makes the `events-dropped` event that says how many were lost.

    Raises:
        OutboxError: the file cannot be opened or made, is damaged, is no outbox, or is in use.
    """

    def __init__(self, path: Path, config: OutboxConfig, *, announce: Announce) -> None:
        self._path = path
        self._config = config
        self._announce = announce
        self._lock = threading.RLock()
        self._listener: Callable[[], None] | None = None
        self._acknowledged = 0  # these three mirror the file
        self._dropped = 0
        self._depth = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(f"{path.parent}: this folder for the events cannot be made ({error.strerror})") from error
        with self._translated("opened"):
            self._db: sqlite3.Connection | None = sqlite3.connect(
                path, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated("opened"):
                self._open(self._db)
        except BaseException:
            self.close()
            raise

    def append(self, event: Event) -> int:
        """Store an event and give its number. It is on disk when this returns.

        Raises:
            OutboxError: it could not be stored.
        """
        with self._lock:
            with self._transaction("written") as db:
                seq = self._insert(db, event)
                gone, lost = self._drop_oldest(db)
            first_loss = lost and not self._dropped
            self._depth += 1 - gone
            self._dropped += lost
        if first_loss:
            log.warning("%s: full with %d events, dropping the oldest", self._path, self._config.max_events)
        if self._listener is not None:
            self._listener()
        return seq

    def pending(self, after_seq: int = 0, limit: int = 100) -> list[Event]:
        """The oldest events that are not acknowledged and come after `after_seq`, at most `limit`, in order.

        Raises:
            OutboxError: they could not be read.
        """
        while True:
            with self._transaction("read") as db:
                rows = db.execute(
                    "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
                    (max(after_seq, self._acknowledged), limit),
                ).fetchall()
            events, unreadable = _decode(rows)
            if not unreadable:
                return events
            self._discard(unreadable)

    def acknowledge(self, seq: int) -> None:
        """The broker has every event up to and including `seq`.

        Raises:
            OutboxError: that could not be stored; the events will be sent again after a restart.
        """
        with self._lock:
            if seq <= self._acknowledged:
                return
            with self._transaction("written") as db:
                (done,) = db.execute(
                    "SELECT COUNT(*) FROM event WHERE seq > ? AND seq <= ?", (self._acknowledged, seq)
                ).fetchone()
                db.execute("UPDATE door SET acknowledged = ?, dropped = 0", (seq,))
                db.execute(
                    "DELETE FROM event WHERE seq <= "
                    "(SELECT seq FROM event WHERE seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                    (seq, self._config.keep_sent),
                )
                lost = self._dropped
                if lost:
                    self._insert(db, self._announce(lost))
            self._acknowledged = seq
            self._depth += (1 if lost else 0) - done
            self._dropped = 0
            if lost:
                log.info("%s: has room again; %d events were lost", self._path, lost)

    def depth(self) -> int:
        """How many events the broker has not acknowledged."""
        return self._depth

    def dropped(self) -> int:
        """How many events were dropped that no `events-dropped` event has told of yet."""
        return self._dropped

    def acknowledged(self) -> int:
        """The number up to which the broker has everything; 0 at first."""
        return self._acknowledged

    def recent(self, limit: int = 20) -> list[Event]:
        """The latest events, sent or not, newest first, as far back as they are kept.

        Raises:
            OutboxError: they could not be read.
        """
        with self._transaction("read") as db:
            rows = db.execute("SELECT seq, body FROM event ORDER BY seq DESC LIMIT ?", (limit,)).fetchall()
        return _decode(rows)[0]

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in the appender's thread, after every append."""
        self._listener = listener

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):  # everything is committed already
                    self._db.close()
                self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # two doors on one file would both send it
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")  # the log is cut back to 4 MiB
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (owner,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables and not owner:
            db.executescript(_SCHEMA)
        elif owner != APPLICATION_ID:
            raise OutboxError(f"{self._path}: a SQLite file, but not an outbox; name another file")
        elif version != SCHEMA_VERSION:
            raise OutboxError(
                f"{self._path}: made by another version of this program (layout {version}, this one reads "
                f"{SCHEMA_VERSION}); update the program or move the file aside"
            )
        (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise self._damaged(health)
        self._acknowledged, self._dropped = db.execute("SELECT acknowledged, dropped FROM door").fetchone()
        (self._depth,) = db.execute("SELECT COUNT(*) FROM event WHERE seq > ?", (self._acknowledged,)).fetchone()

    def _insert(self, db: sqlite3.Connection, event: Event) -> int:
        seq = db.execute("INSERT INTO event (body) VALUES (?)", (encode(event),)).lastrowid
        assert seq is not None
        return seq

    def _drop_oldest(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Bring the unsent events, one more than `_depth` now, back within the bound.

        Returns:
            How many stored events went, and how many of the door's events that loses: an `events-dropped` event that
            has to go itself hands on the number it carried.
        """
        excess = self._depth + 1 - self._config.max_events
        if excess <= 0:
            return 0, 0
        oldest = db.execute(
            "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (self._acknowledged, excess)
        ).fetchall()
        events, unreadable = _decode(oldest)
        lost = len(unreadable) + sum(event.dropped or 1 for event in events)
        db.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq, _ in oldest])
        db.execute("UPDATE door SET dropped = dropped + ?", (lost,))
        return len(oldest), lost

    def _discard(self, seqs: list[int]) -> None:
        """Take events that cannot be read out of the way of the others, and count them as dropped."""
        log.warning(
            "%s: %d stored events cannot be read and are dropped, the first is %d", self._path, len(seqs), seqs[0]
        )
        with self._transaction("written") as db:
            db.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq in seqs])
            db.execute("UPDATE door SET dropped = dropped + ?", (len(seqs),))
        self._depth -= len(seqs)
        self._dropped += len(seqs)

    @contextlib.contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time; the counters beside it must be changed only after it has ended well."""
        with self._lock, self._translated(doing):
            if self._db is None:
                raise OutboxError(f"{self._path}: already closed")
            self._db.execute("BEGIN IMMEDIATE" if doing == "written" else "BEGIN")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DAMAGED:
                raise self._damaged(str(error)) from error
            hint = _HINTS.get(code, "check the folder, the disk and their permissions")
            raise OutboxError(f"{self._path}: events cannot be {doing} ({error}); {hint}") from error

    def _damaged(self, how: str) -> OutboxError:
        how = " ".join(how.split())
        return OutboxError(
            f"{self._path}: the event store is damaged ({how}); move the file aside and start again: "
            "events that wait in it are lost and numbering starts anew"
        )


_HINTS = {
    sqlite3.SQLITE_BUSY: "another process has it open: is this door already running?",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "the file or its disk is read-only: make it writable",
    sqlite3.SQLITE_CANTOPEN: "check that the folder may be written and that the path is no folder",
}


def _decode(rows: list[tuple[int, bytes]]) -> tuple[list[Event], list[int]]:
    """Events with their numbers, and the numbers of those that cannot be read."""
    events, unreadable = [], []
    for seq, body in rows:
        try:
            event = decode(Channel.EVENTS, body)
        except ValueError:
            unreadable.append(seq)
            continue
        assert isinstance(event, Event)
        events.append(msgspec.structs.replace(event, seq=seq))
    return events, unreadable
