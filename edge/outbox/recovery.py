"""Keeps the event database usable: reopens it after errors, replaces a corrupt one, frees a reserve on a full disk."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge.core.errors import OutboxError
from edge.core.files import atomic_write, fsync_dir, make_private_file
from edge.core.reasons import Reason
from edge.events.schema import EventKind
from edge.outbox.database import (
    MAX_SEQ,
    Connection,
    CorruptDatabaseError,
    DiskError,
    DiskFullError,
    EventDatabase,
    decode_rows,
    salvage_rows,
)

log = logging.getLogger(__name__)

RESERVE_BYTES = 1024 * 1024  # as much must be free besides before the reserve is allocated again
_BLOCK = 1000  # numbers reserved at once, so that the floor file is seldom written
_REFILL_AT = 100  # left of them when the next ones are reserved
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """A change of the event store, to be recorded as a system event."""

    kind: EventKind
    reason: Reason
    detail: str = ""


class SequenceFloor:
    """Small file with a number that no event has reached, so that numbers rise strictly over the life of a door.

    A new database continues above the highest of three values: the last number salvaged from the old one, this file,
    and a number derived from the clock. Any one of them is enough.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._retry_seq = 0
        self.value = 0
        with contextlib.suppress(OSError, ValueError):
            value = int(path.read_text(encoding="ascii"))
            self.value = value if 0 <= value <= MAX_SEQ else 0

    def reserve_beyond(self, seq: int) -> None:
        """Keep ahead of `seq`; if the disk fails, try again some numbers later."""
        if seq + _REFILL_AT < self.value or seq < self._retry_seq:
            return
        self._retry_seq = seq + _REFILL_AT // 10
        with contextlib.suppress(OSError):
            atomic_write(self._path, f"{seq + _BLOCK}\n".encode(), private=True)
            self.value = seq + _BLOCK


class DiskReserve:
    """Preallocated file; deleting it on a full disk leaves room to store the event that reports the full disk.

    `is_released`: whether the file was deleted, or could not be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_released = False

    def allocate(self) -> bool:
        """Make the file unless it exists or the disk has too little room; returns whether it exists."""
        if not self._path.exists():
            self.is_released = True
            try:
                if shutil.disk_usage(self._path.parent).free < 2 * RESERVE_BYTES:
                    return False
                make_private_file(self._path)
                with self._path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            except OSError:
                self.release()
                return False
        self.is_released = False
        return True

    def release(self) -> bool:
        """Delete the file; returns whether that made room."""
        self.is_released = True
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False


class RecoveringDatabase:
    """The database behind the outbox. Not thread-safe; its owner locks.

    Args:
        path: the database file; beside it `.seq` holds the floor of the numbers and `.ballast` the reserve.
        max_events: limit of events to salvage from a damaged file.
        first_seq: number of the first event of a new database, unless higher ones were in use.
        on_open: called whenever the file was opened, with the number up to which events are acknowledged, how many
            were dropped and not reported, and how many wait.

    Attributes:
        problem: why the disk does not store events, in a line; "" while it does.
    """

    def __init__(
        self, path: Path, *, max_events: int, first_seq: int, on_open: Callable[[int, int, int], None]
    ) -> None:
        self.problem = ""
        self._path = path
        self._max_events = max_events
        self._first_seq = first_seq
        self._on_open = on_open
        self._database: EventDatabase | None = None
        self._closed = False
        self._checked = False  # the file was checked since the start
        self._notices: list[StoreEvent] = []
        self._floor = SequenceFloor(path.with_suffix(".seq"))
        self._reserve = DiskReserve(path.with_suffix(".ballast"))
        self._damaged = path.with_name(path.name + ".damaged")
        self._fresh = path.with_name(path.name + ".new")

    def transaction(self, doing: str, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction; it may be called again, in a new database if the old one is damaged.

        Args:
            doing: "read" or "written".
            work: must change nothing but the database.

        Raises:
            OutboxError: nothing was changed.
        """
        for _ in range(3):
            try:
                with self._open().transaction(doing) as db:
                    return work(db)
            except CorruptDatabaseError as error:
                self._replace(error)
            except DiskFullError as error:
                if not self._reserve.release():
                    raise self._failed(error) from error
                log.warning("%s; a small reserve is in use", error)
                self._notify(EventKind.STORE_FAILING, Reason.DISK_FULL, "a small reserve is in use")
                self.checkpoint()
            except DiskError as error:
                self.disconnect()  # reopening may help
                raise self._failed(error) from error
        raise OutboxError(f"{self._path}: events cannot be {doing} again and again; check the disk")

    def confirm_stored(self, seq: int, unsaved: int) -> None:
        """Everything is on disk up to `seq`; `unsaved` events of that had to wait in memory."""
        self._floor.reserve_beyond(seq)
        if self.problem:
            log.info("%s: events are stored again; %d were held in memory", self._path, unsaved)
            self._notify(EventKind.STORE_BACK, Reason.EVENTS_STORED_AGAIN, f"events that waited in memory: {unsaved}")
            self.problem = ""

    def restore_reserve(self) -> str:
        """Allocate the reserve if it is missing; returns what is wrong, "" if nothing."""
        was_released = self._reserve.is_released
        if not self._reserve.allocate():
            return f"{self._path.parent}: hardly any room is left on this disk: make room"
        if was_released and self._database is not None:
            log.info("%s: there is room on the disk again", self._path)
            self._notify(EventKind.STORE_BACK, Reason.DISK_HAS_ROOM)
        return ""

    def checkpoint(self) -> None:
        """Write the log into the file, so that no trace of deleted rows remains; skipped while the disk fails."""
        if self._database is not None:
            with contextlib.suppress(OutboxError):
                self._database.checkpoint()

    def delete_damaged_copies(self, before_s: float) -> None:
        """Delete a damaged file that was moved aside before this time, seconds since 1970 UTC."""
        with contextlib.suppress(OSError):
            if self._damaged.stat().st_mtime < before_s:
                self._damaged.unlink()
                log.info("%s: kept long enough, deleted", self._damaged)

    def drain_notices(self) -> list[StoreEvent]:
        """Take the changes of the store since the last call."""
        taken, self._notices = self._notices, []
        return taken

    def disconnect(self) -> None:
        """Close the file; it may be opened again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def close(self) -> None:
        """Close the file for good."""
        self.disconnect()
        self._closed = True

    def _notify(self, kind: EventKind, reason: Reason, detail: str = "") -> None:
        self._notices = [*self._notices, StoreEvent(kind, reason, detail)][-100:]

    def _failed(self, error: OutboxError) -> OutboxError:
        log.log(logging.DEBUG if self.problem else logging.WARNING, "%s; nothing opens until then", error)
        if not self.problem:
            full = isinstance(error, DiskFullError)
            self._notify(EventKind.STORE_FAILING, Reason.DISK_FULL if full else Reason.DISK_FAILING, str(error))
        self.problem = str(error)
        return error

    def _open(self) -> EventDatabase:
        if self._closed:
            raise OutboxError(f"{self._path}: already closed")
        if self._database is None:
            self._finish_replacing()
            database = EventDatabase(self._path, check=not self._checked)
            try:
                self._continue_numbers(database)
                with database.transaction("read") as db:
                    acknowledged, dropped = db.execute("SELECT acknowledged, dropped FROM door").fetchone()
                    (depth,) = db.execute("SELECT COUNT(*) FROM event WHERE seq > ?", (acknowledged,)).fetchone()
            except BaseException:
                database.close()
                raise
            self._database, self._checked = database, True
            self._on_open(acknowledged, dropped, depth)
        return self._database

    def _continue_numbers(self, database: EventDatabase) -> None:
        """Let a new database start above the highest number that was in use."""
        with database.transaction("read") as db:
            if db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone() is not None:
                return
        if self._floor.value:
            self._notify(EventKind.STORE_REPLACED, Reason.STORE_MISSING)
            log.warning("%s: was gone and is made anew", self._path)
        self._start_above(database, max(self._floor.value, self._first_seq - 1))

    def _start_above(self, database: EventDatabase, seq: int) -> None:
        with database.transaction("written") as db:
            db.execute("INSERT INTO sqlite_sequence VALUES ('event', ?)", (seq,))
        self._floor.reserve_beyond(seq)

    def _replace(self, error: CorruptDatabaseError) -> None:
        """Make a new file with what can be read of the damaged one, then let them change places.

        Raises:
            DiskError: the disk does not accept that.
        """
        self.disconnect()
        try:
            _remove(self._fresh)
            salvaged = self._salvage()
            _remove(self._damaged)
            os.replace(self._path, self._damaged)
            self._finish_replacing()
        except (OSError, DiskError) as refused:
            why = refused.strerror if isinstance(refused, OSError) and refused.strerror else refused
            raise self._failed(DiskError(f"{error}, and it cannot be replaced ({why})")) from refused
        detail = f"moved to {self._damaged.name}; waiting events recovered: {salvaged}"
        log.warning("%s; %s", error, detail)
        self._notify(EventKind.STORE_REPLACED, Reason.STORE_DAMAGED, detail)

    def _salvage(self) -> int:
        """Make the new file beside the damaged one; returns how many waiting events it holds."""
        acknowledged, highest, rows = salvage_rows(self._path, self._max_events, self._floor.value or MAX_SEQ)
        unreadable = {seq for seq, _ in decode_rows(rows)[1]}
        readable = [(seq, body) for seq, body in rows if seq not in unreadable]
        with contextlib.closing(EventDatabase(self._fresh)) as database:
            self._start_above(database, max(self._floor.value, highest, self._first_seq - 1))
            with database.transaction("written") as db:
                db.executemany("INSERT INTO event (seq, body) VALUES (?, ?)", readable)
                db.execute("UPDATE door SET acknowledged = ?", (acknowledged,))
            database.checkpoint()
        return len(readable)

    def _finish_replacing(self) -> None:
        """Put the new file into its place, also after a crash in between; the log of the old one must not meet it."""
        if not self._path.exists() and self._fresh.exists():
            _remove(self._path)
            os.replace(self._fresh, self._path)
            fsync_dir(self._path.parent)


def _remove(path: Path) -> None:
    """Delete a database file with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
