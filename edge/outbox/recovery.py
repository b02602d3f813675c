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

RESERVE_BYTES = 1024 * 1024  # this much more must be free before the reserve is allocated again
_BLOCK = 1000  # numbers per reservation, so that the floor file is written rarely
_REFILL_AT = 100  # remaining numbers when the next ones are reserved
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """A change of the event store, to be recorded as a system event."""

    kind: EventKind
    reason: Reason
    detail: str = ""


class SequenceFloor:
    """Small file with a number above those of all events, so that numbers only rise over the life of a door.

    A new database continues above the highest of three values: the last number salvaged from the old one, the number in
    this file, and a number derived from the clock. Each of them alone is enough.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._retry_seq = 0
        self.value = 0
        with contextlib.suppress(OSError, ValueError):
            value = int(path.read_text(encoding="ascii"))
            self.value = value if 0 <= value <= MAX_SEQ else 0

    def reserve_beyond(self, seq: int) -> None:
        """Keep the stored number above `seq`; if the disk fails, try again some numbers later."""
        if seq + _REFILL_AT < self.value or seq < self._retry_seq:
            return
        self._retry_seq = seq + _REFILL_AT // 10
        with contextlib.suppress(OSError):
            atomic_write(self._path, f"{seq + _BLOCK}\n".encode(), private=True)
            self.value = seq + _BLOCK


class DiskReserve:
    """Preallocated file; deleting it on a full disk leaves room to store the event that reports the full disk.

    `is_released`: whether the file was deleted, or could not be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_released = False

    def allocate(self) -> bool:
        """Create the file unless it exists or the disk has too little space; returns whether it exists."""
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
        """Delete the file; returns whether that freed space."""
        self.is_released = True
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False


class RecoveringDatabase:
    """The database of the outbox with recovery. Not thread-safe; the outbox locks.

    Args:
        path: database file; next to it are `.seq`, the floor of the numbers, and `.ballast`, the reserve.
        max_events: limit of events to salvage from a damaged file.
        first_seq: number of the first event of a new database, unless higher numbers were in use.
        on_open: called after every opening with three numbers: the last acknowledged event, the dropped and unreported
            events, and the waiting events.

    Attributes:
        problem: why the disk does not store events, one line; "": it does.
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
        """Run `work` in one transaction; it is repeated in a new database if the old one is damaged.

        Args:
            doing: "read" or "written", for error messages.
            work: function that changes only the database.

        Raises:
            OutboxError: the database is unchanged.
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
                log.warning("disk full, reserve in use: %s", error)
                self._notify(EventKind.STORE_FAILING, Reason.DISK_FULL, "a small reserve is in use")
                self.checkpoint()
            except DiskError as error:
                self.disconnect()  # reopening may help
                raise self._failed(error) from error
        raise OutboxError(f"{self._path}: events cannot be {doing}, also after repeated recovery; check the disk")

    def confirm_stored(self, seq: int, unsaved: int) -> None:
        """Note that all events up to `seq` are on disk; `unsaved` of them waited in memory."""
        self._floor.reserve_beyond(seq)
        if self.problem:
            log.info("events are stored again: path=%s waited_in_memory=%d", self._path, unsaved)
            self._notify(EventKind.STORE_BACK, Reason.EVENTS_STORED_AGAIN, f"events that waited in memory: {unsaved}")
            self.problem = ""

    def restore_reserve(self) -> str:
        """Allocate the reserve if it is missing; returns the problem, or ""."""
        was_released = self._reserve.is_released
        if not self._reserve.allocate():
            return f"{self._path.parent}: this disk is almost full; free space"
        if was_released and self._database is not None:
            log.info("disk has free space again: path=%s", self._path)
            self._notify(EventKind.STORE_BACK, Reason.DISK_HAS_ROOM)
        return ""

    def checkpoint(self) -> None:
        """Write the log into the file, which removes deleted rows from the disk; skipped while the disk fails."""
        if self._database is not None:
            with contextlib.suppress(OutboxError):
                self._database.checkpoint()

    def delete_damaged_copies(self, before_s: float) -> None:
        """Delete the damaged file if it was moved aside before this time, seconds since 1970 UTC."""
        with contextlib.suppress(OSError):
            if self._damaged.stat().st_mtime < before_s:
                self._damaged.unlink()
                log.info("damaged event store deleted after its retention time: path=%s", self._damaged)

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
        """Close the file finally."""
        self.disconnect()
        self._closed = True

    def _notify(self, kind: EventKind, reason: Reason, detail: str = "") -> None:
        self._notices = [*self._notices, StoreEvent(kind, reason, detail)][-100:]

    def _failed(self, error: OutboxError) -> OutboxError:
        log.log(logging.DEBUG if self.problem else logging.WARNING, "disk fails, nothing opens: %s", error)
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
            log.warning("event store missing, a new one is created: path=%s", self._path)
        self._start_above(database, max(self._floor.value, self._first_seq - 1))

    def _start_above(self, database: EventDatabase, seq: int) -> None:
        with database.transaction("written") as db:
            db.execute("INSERT INTO sqlite_sequence VALUES ('event', ?)", (seq,))
        self._floor.reserve_beyond(seq)

    def _replace(self, error: CorruptDatabaseError) -> None:
        """Create a new file with the readable events of the damaged one, and put it in its place.

        Raises:
            DiskError: the disk does not allow it.
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
            raise self._failed(DiskError(f"{error}, and a new one cannot be created ({why})")) from refused
        detail = f"moved to {self._damaged.name}; waiting events recovered: {salvaged}"
        log.warning("event store replaced: %s; %s", error, detail)
        self._notify(EventKind.STORE_REPLACED, Reason.STORE_DAMAGED, detail)

    def _salvage(self) -> int:
        """Create the new file; returns the number of waiting events in it."""
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
        """Move the new file into place, also after a crash; the log of the old file must not be applied to it."""
        if not self._path.exists() and self._fresh.exists():
            _remove(self._path)
            os.replace(self._fresh, self._path)
            fsync_dir(self._path.parent)


def _remove(path: Path) -> None:
    """Delete a database file and the auxiliary files of SQLite."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
