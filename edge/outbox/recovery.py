"""A store that outlives its disk: reopened when the disk failed, replaced when it is damaged, and given the room of a
reserve when there is none else.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge.core.errors import OutboxError
from edge.events.schema import EventKind
from edge.outbox.database import Connection, CorruptDatabaseError, DiskError, DiskFullError, EventDatabase, salvage_rows
from edge.outbox.disk_reserve import DiskReserve
from edge.outbox.retention import decode_rows, insert
from edge.outbox.sequence import MAX_SEQ, SequenceFloor

log = logging.getLogger(__name__)

_OTHERS = ("-wal", "-shm")  # what SQLite keeps beside the file
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """A system event of the store, to be recorded as an event."""

    kind: EventKind
    reason: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What the file says: acknowledged up to here, dropped and not told of, waiting."""

    acknowledged: int
    dropped: int
    depth: int


class RecoveringDatabase:
    """The store behind the outbox. Not safe for several threads; its owner locks.

    Args:
        path: the database file; beside it `.seq` holds the floor of the numbers and `.ballast` the reserve.
        most: events to take over from a damaged file at most.
        first_seq: the number of the first event of a new store, unless higher ones were in use.
        opened: told of the counters whenever the file was opened.

    Attributes:
        trouble: what keeps the disk from taking events, in a line; "" when nothing does.
    """

    def __init__(self, path: Path, *, most: int, first_seq: int, opened: Callable[[Counters], None]) -> None:
        self._path = path
        self._most = most
        self._first_seq = first_seq
        self._told = opened
        self._store: EventDatabase | None = None
        self._closed = False
        self._checked = False  # the file was looked through since the start
        self._notices: deque[StoreEvent] = deque(maxlen=100)
        self._floor = SequenceFloor(path.with_suffix(".seq"))
        self._ballast = DiskReserve(path.with_suffix(".ballast"))
        self._aside = path.with_name(path.name + ".damaged")
        self._fresh = path.with_name(path.name + ".new")
        self.trouble = ""

    def transaction(self, doing: str, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction; it may be called again, in a new store if the old one is damaged.

        Args:
            doing: "read" or "written".
            work: must change nothing but the database.

        Raises:
            OutboxError: nothing was changed.
        """
        for _ in range(3):
            try:
                with self._opened().transaction(doing) as db:
                    return work(db)
            except CorruptDatabaseError as error:
                self._replace(error)
            except DiskFullError as error:
                if not self._ballast.release():
                    raise self._failed(error) from error
                log.warning("%s; a small reserve is in use", error)
                self._notices.append(StoreEvent(EventKind.STORE_FAILING, "the disk is full; a small reserve is in use"))
                self.checkpoint()
            except DiskError as error:
                self.disconnect()  # perhaps it opens again
                raise self._failed(error) from error
        raise OutboxError(f"{self._path}: events cannot be {doing} again and again; check the disk")

    def is_healthy(self, seq: int, held: int) -> None:
        """Everything is on disk up to `seq`, `held` events of it had to wait in memory."""
        self._floor.reserve_beyond(seq)
        if self.trouble:
            log.info("%s: events are stored again; %d were held in memory", self._path, held)
            self._notices.append(
                StoreEvent(EventKind.STORE_BACK, f"events are stored again; {held} were held in memory")
            )
            self.trouble = ""

    def restore_reserve(self) -> str:
        """See that the reserve is there; returns what is wrong, "" if nothing."""
        missed = self._ballast.is_released
        if not self._ballast.allocate():
            return f"{self._path.parent}: hardly any room is left on this disk: make room"
        if missed and self._store is not None:
            log.info("%s: there is room on the disk again", self._path)
            self._notices.append(StoreEvent(EventKind.STORE_BACK, "there is room on the disk again"))
        return ""

    def checkpoint(self) -> None:
        """Bring the log into the file, so that what was deleted is nowhere any more; not on a disk that refuses."""
        if self._store is not None:
            with contextlib.suppress(OutboxError):
                self._store.checkpoint()

    def delete_damaged_copies(self, before_s: float) -> None:
        """Delete what was moved aside before this time, seconds since 1970 UTC."""
        with contextlib.suppress(OSError):
            if self._aside.stat().st_mtime < before_s:
                self._aside.unlink()
                log.info("%s: kept long enough, deleted", self._aside)

    def notices(self) -> list[StoreEvent]:
        """Take the system events of the store since the last call."""
        taken = list(self._notices)
        self._notices.clear()
        return taken

    def disconnect(self) -> None:
        """Close the file; it may be opened again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def close(self) -> None:
        """Close the file for good."""
        self.disconnect()
        self._closed = True

    def _failed(self, error: OutboxError) -> OutboxError:
        log.log(logging.DEBUG if self.trouble else logging.WARNING, "%s; nothing opens until then", error)
        if not self.trouble:
            self._notices.append(StoreEvent(EventKind.STORE_FAILING, str(error)))
        self.trouble = str(error)
        return error

    def _opened(self) -> EventDatabase:
        if self._closed:
            raise OutboxError(f"{self._path}: already closed")
        if self._store is None:
            self._finish_replacing()
            store = EventDatabase(self._path, checked=not self._checked)
            try:
                self._next_seq(store)
                with store.transaction("read") as db:
                    acknowledged, dropped = db.execute("SELECT acknowledged, dropped FROM door").fetchone()
                    (depth,) = db.execute("SELECT COUNT(*) FROM event WHERE seq > ?", (acknowledged,)).fetchone()
            except BaseException:
                store.close()
                raise
            self._store, self._checked = store, True
            self._told(Counters(acknowledged, dropped, depth))
        return self._store

    def _next_seq(self, store: EventDatabase) -> None:
        """Let a new store count on from where the last one was at the most."""
        with store.transaction("read") as db:
            known = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        if known is not None:
            return
        if self._floor.value:
            self._notices.append(StoreEvent(EventKind.STORE_REPLACED, "the event store was gone and is made anew"))
            log.warning("%s: was gone and is made anew", self._path)
        self._start_above(store, max(self._floor.value, self._first_seq - 1))

    def _start_above(self, store: EventDatabase, seq: int) -> None:
        with store.transaction("written") as db:
            db.execute("INSERT INTO sqlite_sequence VALUES ('event', ?)", (seq,))
        self._floor.reserve_beyond(seq)

    def _replace(self, error: CorruptDatabaseError) -> None:
        """Begin a new file with what can be read of the damaged one, then let them change places.

        Raises:
            StoreFailing: the disk does not take that.
        """
        self.disconnect()
        try:
            self._remove(self._fresh)
            saved = self._salvage()
            self._remove(self._aside)
            os.replace(self._path, self._aside)
            self._finish_replacing()
        except (OSError, DiskError) as refused:
            why = refused.strerror if isinstance(refused, OSError) and refused.strerror else refused
            raise self._failed(DiskError(f"{error}, and it cannot be replaced ({why})")) from refused
        told = (
            f"the event store was damaged and is moved to {self._aside.name}; {saved} waiting events were read from "
            "it, others may be lost"
        )
        log.warning("%s; %s", error, told)
        self._notices.append(StoreEvent(EventKind.STORE_REPLACED, told))

    def _salvage(self) -> int:
        """Make the new file beside the damaged one; returns how many waiting events it holds."""
        acknowledged, highest, rows = salvage_rows(self._path, self._most, self._floor.value or MAX_SEQ)
        unreadable = set(decode_rows(rows)[1])
        saved = [(seq, body) for seq, body in rows if seq not in unreadable]
        store = EventDatabase(self._fresh)
        try:
            self._start_above(store, max(self._floor.value, highest, self._first_seq - 1))
            with store.transaction("written") as db:
                for seq, body in saved:
                    insert(db, seq, body, None)
                db.execute("UPDATE door SET acknowledged = ?", (acknowledged,))
            store.checkpoint()
        finally:
            store.close()
        return len(saved)

    def _finish_replacing(self) -> None:
        """Put the new file into its place, also after a crash in between; the log of the old one must not meet it."""
        if not self._path.exists() and self._fresh.exists():
            self._remove(self._path)
            os.replace(self._fresh, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _remove(self, path: Path) -> None:
        for suffix in ("", *_OTHERS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
