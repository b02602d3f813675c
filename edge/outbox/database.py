"""SQLite file of the outbox: opening, transactions, retention and errors; the only module that imports sqlite3.

Write-ahead logging with ``synchronous=FULL``: a commit is one append to the log and one fsync, where the rollback
journal writes every page twice and syncs three or four times; that is slower and wears an SD card out sooner. Each
frame of the log carries a checksum, so a torn write at a power cut loses the unfinished event and nothing before it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.core.errors import OutboxError
from edge.events.schema import Event, decode
from edge.events.topics import Channel

Connection = sqlite3.Connection
Row = tuple[int, bytes]  # number and body of an event

APPLICATION_ID = 0x54687264  # "Thrd": this file is ours
SCHEMA_VERSION = 2
MAX_SEQ = 1 << 52  # JSON readers keep whole numbers exactly up to 2**53
_EPOCH_S = 1_577_836_800  # 2020-01-01 UTC
_PER_SECOND_BITS = 20  # a later clock gives a higher number while a door makes fewer than a million events per second
_LOG_PAGES = 64  # checkpoint after this many pages, so that the log does not fill a full disk
_LOG_BYTES = 512 * 1024  # truncate the log to this size
_SCAN_LIMIT = 1000  # oldest rows examined per pass; timestamps may decrease when the clock is stepped
_CORRUPT_ERRORS = (sqlite3.Error, TypeError, UnicodeDecodeError)  # raised by damaged rows
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FAILING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_DISK_ERRNOS = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENXIO})
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, at_s INTEGER);
CREATE TABLE door (acknowledged INTEGER NOT NULL, dropped INTEGER NOT NULL);
INSERT INTO door VALUES (0, 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_FROM_1 = "BEGIN IMMEDIATE; ALTER TABLE event ADD COLUMN at_s INTEGER; PRAGMA user_version = 2; COMMIT;"
_INTEGRITY_CHECK = """
SELECT (SELECT COUNT(*) FROM door) = 1
AND NOT EXISTS (SELECT 1 FROM event WHERE typeof(body) <> 'blob' OR seq < 1)
AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE typeof(seq) <> 'integer' OR seq >= 1 << 53)
AND NOT EXISTS (SELECT 1 FROM door WHERE typeof(acknowledged) <> 'integer' OR typeof(dropped) <> 'integer'
    OR dropped < 0 OR acknowledged NOT BETWEEN 0 AND (SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence))
"""
_HINTS = {
    sqlite3.SQLITE_BUSY: "another process has it open: is this door already running?",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "the file or its disk is read-only: make it writable",
    sqlite3.SQLITE_CANTOPEN: "check that the folder is writable and that the path is not a folder",
}


class CorruptDatabaseError(OutboxError):
    """The content of the file cannot be trusted."""


class DiskError(OutboxError):
    """The disk fails, perhaps temporarily."""


class DiskFullError(DiskError):
    """The disk is full."""


class EventDatabase:
    """An open event database; a new file gets its tables, and an older layout is migrated.

    Args:
        path: the database file; a missing folder is created.
        check: check the whole file for damage.

    Raises:
        CorruptDatabaseError: the file is damaged.
        DiskError: the disk is full, read-only or failing.
        OutboxError: the path cannot be used, the file is no outbox or a newer one, or it is in use.
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self.path = path
        _make_folder(path.parent)
        if path.exists() and not path.is_file():
            raise OutboxError(f"{path}: events cannot be opened: not a file but a folder or device; name another path")
        with self._translated("opened"):
            self._db: Connection | None = sqlite3.connect(
                path, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated("opened"):
                self._open(self._db, check)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def transaction(self, doing: str) -> Iterator[Connection]:
        """A transaction; `doing` is "read" or "written", for error messages.

        Raises:
            CorruptDatabaseError, DiskError: nothing was changed.
            OutboxError: the file is closed, or in use.
        """
        with self._translated(doing):
            if self._db is None:
                raise OutboxError(f"{self.path}: already closed")
            self._db.execute("BEGIN IMMEDIATE" if doing == "written" else "BEGIN")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):  # keep the first error
                        self._db.execute("ROLLBACK")
                raise

    def checkpoint(self) -> None:
        """Write the log back into the file and truncate it, so that no trace of deleted rows remains.

        Raises:
            CorruptDatabaseError, DiskError: not done, or not completely; all events are kept.
        """
        with self._translated("written"):
            if self._db is not None:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # all transactions are committed
                self._db.close()
            self._db = None

    def _open(self, db: Connection, check: bool) -> None:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # or two doors on one file would both send its events
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        db.execute("PRAGMA secure_delete = ON")  # overwrite deleted rows, which contain names
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (owner,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables and not owner:
            db.executescript(_SCHEMA)
            version = SCHEMA_VERSION
        elif owner != APPLICATION_ID:
            ours = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('event', 'door')"
            if db.execute(ours).fetchone() == (2,):
                raise _damaged(self.path, "its application id is missing")
            raise OutboxError(f"{self.path}: a SQLite file, but not an outbox; name another path")
        if check:
            (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if health != "ok":
                raise _damaged(self.path, health)
            if db.execute(_INTEGRITY_CHECK).fetchone() != (1,):  # quick_check does not examine values
                raise _damaged(self.path, "an impossible value")
        if version == 1:
            db.executescript(_FROM_1)
        elif version != SCHEMA_VERSION:
            raise OutboxError(
                f"{self.path}: made by another version of this program (layout {version}, this one reads "
                f"{SCHEMA_VERSION}); update the program or move the file aside"
            )

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise translate_errors(error, self.path, doing) from error
        except UnicodeDecodeError as error:  # the message of SQLite quotes damaged text
            raise _damaged(self.path, "invalid text") from error


def translate_errors(error: sqlite3.DatabaseError, path: Path, doing: str) -> OutboxError:
    """Translate an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED or str(error).startswith("Could not decode"):
        return _damaged(path, str(error))
    hint = _HINTS.get(code, "check the folder, the disk and their permissions")
    message = f"{path}: events cannot be {doing} ({error}); {hint}"
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(message)
    if code == sqlite3.SQLITE_CANTOPEN and not _disk_refuses(path.parent):
        return OutboxError(message)
    return DiskError(message) if code in _FAILING else OutboxError(message)


def insert(db: Connection, body: bytes, at_s: int | None) -> int:
    """Store an event and return its number. `at_s`: seconds since 1970 UTC, if known."""
    return db.execute("INSERT INTO event (body, at_s) VALUES (?, ?)", (body, at_s)).lastrowid or 0


def drop(db: Connection, rows: list[Row]) -> int:
    """Delete waiting rows and add their number to the losses on disk.

    Returns:
        Number of lost events; a lost `events-dropped` event counts as the number that it carries.
    """
    events, unreadable = decode_rows(rows)
    lost = len(unreadable) + sum(event.dropped or 1 for event in events)
    db.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq, _ in rows])
    db.execute("UPDATE door SET dropped = dropped + ?", (lost,))
    return lost


def decode_rows(rows: list[Row]) -> tuple[list[Event], list[Row]]:
    """Decode rows into events with their numbers; returns undecodable rows separately."""
    events, unreadable = [], []
    for seq, body in rows:
        try:
            event = decode(Channel.EVENTS, body)
        except ValueError:
            unreadable.append((seq, body))
            continue
        assert isinstance(event, Event)
        events.append(msgspec.structs.replace(event, seq=seq))
    return events, unreadable


def seq_from_clock(unix_s: float) -> int:
    """A number above all numbers of earlier times; 0 for a clock before 2020."""
    return min(max(int(unix_s) - _EPOCH_S, 0) << _PER_SECOND_BITS, MAX_SEQ)


def last_expired_seq(db: Connection, after: int, up_to: int, before_s: int) -> int:
    """Number of the last event with an earlier timestamp among the oldest ones; 0: none.

    An event without a timestamp was stored before the clock was set; it expires with the next event that has one.
    """
    (last,) = db.execute(
        "SELECT MAX(seq) FROM (SELECT seq, at_s FROM event WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?) "
        "WHERE at_s < ?",
        (after, up_to, _SCAN_LIMIT, before_s),
    ).fetchone()
    return int(last or 0)


def salvage_rows(path: Path, max_rows: int, highest_seq: int) -> tuple[int, int, list[Row]]:
    """Read the rest of a damaged file, from both ends towards the damage.

    Args:
        path: database file; its log is written back into it as far as possible.
        max_rows: limit of rows to read from each end.
        highest_seq: higher numbers count as damaged.

    Returns:
        Number of the last acknowledged event and highest number, 0 if unreadable, and the rows that were not
        acknowledged, in order.
    """
    rows: dict[int, bytes] = {}
    acknowledged = highest = 0
    with contextlib.suppress(*_CORRUPT_ERRORS, OSError), contextlib.closing(sqlite3.connect(path, timeout=1.0)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        with contextlib.suppress(*_CORRUPT_ERRORS):
            (found,) = db.execute("SELECT acknowledged FROM door").fetchone()
            acknowledged = found if isinstance(found, int) and 0 <= found <= highest_seq else 0
        with contextlib.suppress(*_CORRUPT_ERRORS):
            (found,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
            highest = found if isinstance(found, int) and 0 <= found <= highest_seq else 0
        for order in ("ASC", "DESC"):
            with contextlib.suppress(*_CORRUPT_ERRORS):
                for seq, body in db.execute(f"SELECT seq, body FROM event ORDER BY seq {order} LIMIT {max_rows:d}"):
                    if 0 < seq <= highest_seq and isinstance(body, bytes):
                        rows[seq] = body
    highest = max(highest, acknowledged, *rows, 0)
    return acknowledged, highest, [(seq, rows[seq]) for seq in sorted(rows) if seq > acknowledged]


def _damaged(path: Path, how: str) -> CorruptDatabaseError:
    return CorruptDatabaseError(f"{path}: the event store is damaged ({' '.join(how.split())})")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        kind = DiskError if error.errno in _DISK_ERRNOS else OutboxError
        raise kind(f"{folder}: cannot create the folder of the event store ({error.strerror})") from error


def _disk_refuses(folder: Path) -> bool:
    """Whether no file can be created here because of the disk, not of a wrong path or permission."""
    probe = folder / ".probe"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.unlink(probe)
    except OSError as error:
        return error.errno in _DISK_ERRNOS
    return False
