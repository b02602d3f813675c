"""State of all doors, and a stream of its changes for each open page.

A page receives the changes since its last batch. A slow or disconnected page therefore needs no memory here, and misses
only events older than the latest `RING`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from itertools import takewhile

import msgspec

from edge.events.schema import Event, EventKind, Record
from threshold_tools.monitor.fleet import MAX_DOORS, MAX_NAME, DoorRow, EventRow, Fleet, clean_text, door_name

log = logging.getLogger(__name__)

RING = 1000  # events kept for pages
INITIAL_EVENTS = 200  # events sent to a new page
BATCH_S = 0.05  # shortest time between two batches for a page
HEARTBEAT_S = 15.0  # without changes, so that both ends detect a dead connection
MAX_PAGES = 64
_MAX_IDS = 20_000  # event ids stored to detect duplicates


class BrokerStatus(msgspec.Struct, frozen=True):
    """State of the connection to the broker: "connecting", "connected" or "disconnected", and the reason."""

    state: str
    why: str


class StreamBatch(msgspec.Struct, frozen=True):
    """One message of the stream of a page."""

    fresh: bool  # the first batch: the page discards its state
    events: list[EventRow]  # new events, oldest first
    doors: list[DoorRow]  # doors that changed
    broker: BrokerStatus | None  # None if unchanged
    unlisted: int  # number of doors that are not listed, because there are too many
    lost: int  # rows that the history lost


class Hub:
    """All data of the pages; used in the thread of the event loop only."""

    def __init__(
        self, last_n: int = 0, events: Iterable[EventRow] = (), last_of_doors: Iterable[EventRow] = ()
    ) -> None:
        """Start with the history: the number of its latest event, its latest events, and those of each door."""
        self.fleet = Fleet()  # the doors
        self.broker = BrokerStatus("connecting", "")  # state of the connection to the broker
        self.pages = 0  # number of open streams
        self._closed = False
        self._lost = 0
        self._removals = 0  # each makes the pages start with a fresh batch
        self._boot = secrets.token_hex(4)
        self._n = last_n
        self._ring: deque[EventRow] = deque(maxlen=RING)
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._changed = asyncio.Event()
        last_rows = list(last_of_doors)
        for row in last_rows:
            self.fleet.restore(row)
        for row in sorted({row.n: row for row in [*last_rows, *events]}.values(), key=lambda row: row.n):
            self._append(row)

    def on_message(self, site: str, door: str, record: Record, received_ms: int) -> EventRow | None:
        """Process a message of a door; returns the row of a new event."""
        if isinstance(record, Event) and (door_name(site, door), clean_text(record.id, MAX_NAME)) in self._ids:
            return None
        all_listed = self.fleet.unlisted == 0
        row = self.fleet.update(site, door, record, received_ms, self._n + 1)
        if row is not None:
            self._n += 1
            self._append(row)
        if all_listed and self.fleet.unlisted:
            log.warning(
                "more than %d doors: only the first ones are listed; the events of all doors are stored", MAX_DOORS
            )
        self._wake()
        return row

    def forget(self, door: str) -> None:
        """Remove a door whose reports were deleted from the broker."""
        if self.fleet.remove(door):
            self._removals += 1
            self._wake()

    def is_unknown(self, door: str, event_id: str) -> bool:
        """Whether this is one of the latest events, and its visitor was unknown."""
        return any(row.id == event_id and row.door == door and row.kind == EventKind.UNKNOWN for row in self._ring)

    def set_broker(self, broker: BrokerStatus) -> None:
        """Set the state of the connection to the broker."""
        if broker != self.broker:
            self.broker = broker
            self._wake()

    def set_lost(self, rows: int) -> None:
        """Set the number of rows that the history has lost since the start."""
        if rows != self._lost:
            self._lost = rows
            self._wake()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    def latest(self, most: int) -> list[EventRow]:
        """The latest events, oldest first."""
        return list(self._ring)[-most:]

    async def stream(self, last_id: str) -> AsyncIterator[bytes]:
        """Server-sent events for one page; `last_id`: id of the last one that it received, or ""."""
        boot, _, number = last_id.partition("-")
        fresh = not (boot == self._boot and number.isdigit() and len(number) < 18)
        after_n, version, broker, counts = 0 if fresh else int(number), 0, None, (0, 0)
        removals = self._removals
        self.pages += 1
        try:
            while not self._closed:
                changed = self._changed
                if removals != self._removals:
                    removals, fresh, version = self._removals, True, 0
                events = self.latest(INITIAL_EVENTS) if fresh else self._events_after(after_n)
                doors = self.fleet.doors(version)
                broker_now = self.broker if self.broker != broker else None
                now = (self.fleet.unlisted, self._lost)
                if events or doors or broker_now or fresh or now != counts:
                    after_n, version, broker, counts = self._n, self.fleet.version, self.broker, now
                    body = msgspec.json.encode(StreamBatch(fresh, events, doors, broker_now, *now))
                    yield b"id: %s-%d\ndata: %s\n\n" % (self._boot.encode(), after_n, body)
                    fresh = False
                    await asyncio.sleep(BATCH_S)
                    continue
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await changed.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
        finally:
            self.pages -= 1

    def _events_after(self, n: int) -> list[EventRow]:
        return list(takewhile(lambda row: row.n > n, reversed(self._ring)))[::-1]

    def _append(self, row: EventRow) -> None:
        self._ring.append(row)
        self._ids[row.door, row.id] = None
        while len(self._ids) > _MAX_IDS:
            self._ids.popitem(last=False)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
