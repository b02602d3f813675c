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

SLOT_MS = 60_000  # one health sample of each door is stored per period of this length
DAY_MS = 86_400_000
BATCH_ROWS = 5000  # most rows deleted in one transaction, so that new rows are not delayed
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
# Added after the first version, and created in older files when they are opened.
_ADDITIONS = """
CREATE TABLE IF NOT EXISTS forgotten (door TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (at_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_door ON event (door, n);
CREATE INDEX IF NOT EXISTS event_kind ON event (kind, n);
"""


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits of the history: age in days, number of events, and number of health samples."""

    days: float
    rows: int
    health_rows: int = 2_000_000


def lock_history(path: Path) -> IO[str]:
    """Lock a history until the result is closed, by a file next to it (SQLite locks the history itself).

    Raises:
        InputError: another monitor has locked it.
        OSError: the lock cannot be created.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    make_private_file(lock_path)
    lock = lock_path.open("r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise InputError(
            f"{path}: another monitor (process {holder}) uses this history; give each monitor its own --history FILE"
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def open_database(path: Path) -> sqlite3.Connection:
    """Open a history and create its tables. Only the owner can read it, because it records who was where.

    Raises:
        sqlite3.DatabaseError: it cannot be used, or belongs to another program.
    """
    with contextlib.suppress(OSError):  # the error of SQLite is clearer
        make_private_file(path)
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        (owner,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and owner != _APPLICATION_ID:
            raise sqlite3.DatabaseError("a SQLite file of another program")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power failure may lose the last batches, but does not damage the file
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
    """Delete a batch of rows beyond the limits; returns whether there may be more.

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
    """A read-only connection, for any thread."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        yield db
