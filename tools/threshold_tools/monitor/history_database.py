"""The SQLite file of the history: tables, the lock, and deletion of old rows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge.core.errors import InputError
from edge.core.files import make_private_file

SLOT_MS = 60_000  # one health sample of each door is kept for each span of this length
DAY_MS = 86_400_000
BATCH_ROWS = 5000  # rows deleted at once, so that new rows never wait long
_APPLICATION_ID = 0x5468724D  # "ThrM"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (n INTEGER PRIMARY KEY, door TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    received_ms INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (door, id));
CREATE INDEX event_age ON event (received_ms);
CREATE TABLE health (door TEXT NOT NULL, slot INTEGER NOT NULL, fps REAL NOT NULL, temperature_c REAL,
    outbox_depth INTEGER NOT NULL, stages BLOB NOT NULL, PRIMARY KEY (door, slot)) WITHOUT ROWID;
CREATE INDEX health_age ON health (slot);
CREATE TABLE monitor (name TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""
# Added after the first version; a file that lacks them gets them when it is opened.
_ADDITIONS = """
CREATE TABLE IF NOT EXISTS audit (at_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_door ON event (door, n);
CREATE INDEX IF NOT EXISTS event_kind ON event (kind, n);
"""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: nothing older than `days`, and the latest `rows` events and `health_rows` samples."""

    days: float
    rows: int
    health_rows: int = 2_000_000


def lock_history(path: Path) -> IO[str]:
    """Lock a history until the result is closed. The lock is a file beside it: SQLite has its own locks on the history.

    Raises:
        InputError: another monitor holds it.
        OSError: it cannot be made.
    """
    beside = path.with_name(f"{path.name}.lock")
    make_private_file(beside)
    lock = beside.open("r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise InputError(
            f"{path}: another monitor (process {holder}) writes this history; give each monitor its own --history FILE"
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def open_database(path: Path) -> sqlite3.Connection:
    """Open a history, with its tables; readable by its owner alone, because it holds who went where.

    Raises:
        sqlite3.DatabaseError: it cannot be used, or is a file of something else.
    """
    with contextlib.suppress(OSError):  # SQLite's error is clearer
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
        db.executescript(_ADDITIONS)
    except BaseException:
        db.close()
        raise
    return db


def apply_retention(db: sqlite3.Connection, retention: Retention, now_ms: int) -> bool:
    """Delete a batch of what is not to be kept; returns whether there may be more.

    Raises:
        sqlite3.DatabaseError: the file cannot be written.
    """
    oldest_ms = now_ms - round(retention.days * DAY_MS)
    (newest,) = db.execute("SELECT COALESCE(MAX(n), 0) FROM event").fetchone()
    cut = db.execute("SELECT slot FROM health ORDER BY slot DESC LIMIT 1 OFFSET ?", (retention.health_rows,)).fetchone()
    oldest_slot = max(oldest_ms // SLOT_MS, cut[0] + 1 if cut else 0)
    deletions = (
        ("event WHERE n IN (SELECT n FROM event WHERE received_ms < ? LIMIT ?)", oldest_ms),
        ("event WHERE n IN (SELECT n FROM event WHERE n <= ? LIMIT ?)", newest - retention.rows),
        (
            "health WHERE (door, slot) IN (SELECT door, slot FROM health WHERE slot < ? ORDER BY slot LIMIT ?)",
            oldest_slot,
        ),
        ("audit WHERE rowid IN (SELECT rowid FROM audit WHERE at_ms < ? LIMIT ?)", oldest_ms),
    )
    with db:
        gone = [db.execute(f"DELETE FROM {what}", (limit, BATCH_ROWS)).rowcount for what, limit in deletions]
    return max(gone) >= BATCH_ROWS


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, for any thread."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        yield db
