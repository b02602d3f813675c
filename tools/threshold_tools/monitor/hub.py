"""Where the broker's messages meet the pages: one state, and a cursor into it for every open page.

Pages are told what changed since they were last told, in portions; so a page that is slow, or was away, costs no
memory here and misses no state, only events older than the latest `RING`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from itertools import islice

import msgspec

from edge.events.schema import Event, EventKind, Record
from threshold_tools.monitor.fleet import MAX_DOORS, MAX_NAME, DoorRow, EventRow, Fleet, clean_text, door_name

log = logging.getLogger(__name__)

RING = 1000  # events kept for pages
INITIAL_EVENTS = 200  # of them a page starts with
BATCH_S = 0.05  # a page is told no more often
HEARTBEAT_S = 15.0  # when nothing happens, so that both ends notice a dead connection
MAX_PAGES = 64
_MAX_IDS = 20_000  # events known by id, for copies


class BrokerStatus(msgspec.Struct, frozen=True):
    """How we stand with the broker: "connecting", "connected" or "away", and why."""

    state: str
    why: str


class StreamBatch(msgspec.Struct, frozen=True):
    """What a page is told at once.

    Attributes:
        fresh: this is a beginning: forget what was told before.
        events: new ones, oldest first.
        doors: those that changed, whole.
        broker: None when it is as it was.
        missed: events that were too many to be told.
        unlisted: doors that are not listed, because there are too many.
        lost: rows that the history could not keep.
    """

    fresh: bool
    events: list[EventRow]
    doors: list[DoorRow]
    broker: BrokerStatus | None
    missed: int
    unlisted: int
    lost: int


class Hub:
    """Everything that pages show; belongs to the event loop's thread.

    Args:
        last_n: the number of the latest event in the history.
        known: events from the history, oldest first: the latest of each door, or the latest of all.
    """

    def __init__(self, last_n: int = 0, known: Iterable[EventRow] = ()) -> None:
        self.fleet = Fleet()
        self.broker = BrokerStatus("connecting", "")
        self.pages = 0
        self.closed = False
        self._lost = 0
        self._boot = secrets.token_hex(4)
        self._n = last_n
        self._ring: deque[EventRow] = deque(maxlen=RING)
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._changed = asyncio.Event()
        for row in sorted(known, key=lambda row: row.n):
            self.fleet.restore(row)
            self._append(row)

    def on_message(self, site: str, door: str, record: Record, received_ms: int) -> EventRow | None:
        """Take in what a door has said; returns the row of an event that was not known yet."""
        if isinstance(record, Event) and (door_name(site, door), clean_text(record.id, MAX_NAME)) in self._ids:
            return None
        whole = self.fleet.unlisted == 0
        row = self.fleet.update(site, door, record, received_ms, self._n + 1)
        if row is not None:
            self._n += 1
            self._append(row)
        if whole and self.fleet.unlisted:
            log.warning(
                "more than %d doors: those heard of first are listed; the events of all are kept and shown", MAX_DOORS
            )
        self._wake()
        return row

    def is_unknown(self, door: str, event_id: str) -> bool:
        """Whether this is one of the latest events, of somebody unknown at this door."""
        return any(row.id == event_id and row.door == door and row.kind == EventKind.UNKNOWN for row in self._ring)

    def name(self, site: str, door: str) -> str:
        """By what a door is known here."""
        return door_name(site, door)

    def set_broker(self, broker: BrokerStatus) -> None:
        if broker != self.broker:
            self.broker = broker
            self._wake()

    def set_lost(self, rows: int) -> None:
        """Rows that the history could not keep, since the start."""
        if rows != self._lost:
            self._lost = rows
            self._wake()

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._wake()

    def latest(self, most: int) -> list[EventRow]:
        """The latest events, oldest first."""
        return list(islice(self._ring, max(len(self._ring) - most, 0), None))

    async def stream(self, last_id: str) -> AsyncIterator[bytes]:
        """Server-sent events for one page.

        Args:
            last_id: of the last one it has had, or "".
        """
        boot, _, number = last_id.partition("-")
        resumed = boot == self._boot and number.isdigit() and len(number) < 18
        after_n, version, broker, counts = int(number) if resumed else 0, 0, None, (0, 0)
        fresh = not resumed
        self.pages += 1
        try:
            while not self.closed:
                changed = self._changed
                events = self._events_after(after_n) if not fresh else self.latest(INITIAL_EVENTS)
                missed = max(self._n - after_n - len(events), 0) if not fresh else 0
                doors = self.fleet.doors(version)
                told = self.broker if self.broker != broker else None
                now = (self.fleet.unlisted, self._lost)
                if events or doors or told or fresh or now != counts:
                    after_n, version, broker, counts = self._n, self.fleet.version, self.broker, now
                    body = msgspec.json.encode(StreamBatch(fresh, events, doors, told, missed, *now))
                    yield b"id: %s-%d\ndata: %s\n\n" % (self._boot.encode(), after_n, body)
                    fresh = False
                    await asyncio.sleep(BATCH_S)
                    continue
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.pages -= 1

    def _events_after(self, n: int) -> list[EventRow]:
        new: list[EventRow] = []
        for row in reversed(self._ring):
            if row.n <= n:
                break
            new.append(row)
        return new[::-1]

    def _append(self, row: EventRow) -> None:
        self._ring.append(row)
        self._ids[row.door, row.id] = None
        while len(self._ids) > _MAX_IDS:
            self._ids.popitem(last=False)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
