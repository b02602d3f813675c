"""Door and broker killed at random while events flow; afterwards everything that was promised is checked.

The door is the real daemon, with made-up sight for the sake of speed, and the broker a real Mosquitto. What is shown
ends where the broker's word ends: it acknowledges an event before it has written it down, so what it holds for a
listener who is away dies with it. Therefore it is killed only while the listener is there, and the listener's own end
of the connection keeps what it was sent. The door may be killed at any moment whatever.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.core.config import OutboxConfig
from edge.core.errors import InputError
from edge.events.schema import Event
from edge.events.topics import Topics
from edge.outbox.outbox import Outbox
from soaking.broker import Broker
from soaking.judge import StoredEvent, Violation, judge_end, judge_events, judge_openings, judge_store
from soaking.listener import Record
from soaking.process import Program
from soaking.witness import count, notes_of

DOOR = Topics("soak", "front")
KEEP = 1_000_000  # acknowledged events kept, so that all can be counted at the end
FPS = 150.0  # about nineteen visits a second
PATIENCE_S = 120.0
_DOOR_TOML = """site = "{site}"
door = "{door}"
state_folder = "{folder}/state"
[camera]
source = "/dev/crowd"
[motion]
enabled = false
[tracker]
lost_after_s = 0.01
[recognition]
sample_every_s = 0.0
unknown_samples = 3
cooldown_s = 0.0
[lockout]
max_failures = 1000000
[mqtt]
url = "{url}"
health_every_s = 0.5
[outbox]
keep_delivered = {keep}
"""


class KillReport(msgspec.Struct, frozen=True):
    """What became of a kill run; `breaches` is empty when every promise was kept."""

    seed: int
    seconds: float
    door_kills: int
    broker_kills: int
    stored: int
    noted: int
    arrived: int
    copies: int
    door_opens: int
    openings: int
    expired: int
    least_margin_ms: float
    breaches: list[Violation]


class Waiting:
    """Waits for conditions, and says what did not come true."""

    def __init__(self, door: Program) -> None:
        self._door = door

    def wait_until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Raises InputError when it does not come true in time, or the door has ended."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if not self._door.alive():
                raise InputError(f"the door ended by itself: {self._door.last_log_line}")
            if time.monotonic() > deadline:
                raise InputError(f"not within {patience_s:g} s: {what}")
            time.sleep(0.01)


def kill_run(folder: Path, *, kills: int, events: int, seed: int, told: Callable[[str], None]) -> KillReport:
    """Kill door and broker `kills` times in all, at random, while at least `events` events flow.

    Args:
        folder: for everything that is written; empty or new.
        kills: of either, by the toss of a coin.
        events: spread over the kills.
        seed: of all chance but the operating system's.
        told: hears of the progress, a line at a time.

    Raises:
        InputError: mosquitto is not installed, or the run cannot go on.
    """
    began, chance = time.monotonic(), random.Random(seed)
    notes = folder / "notes.jsonl"
    with Broker(folder / "broker") as broker:
        record = Record(broker.port, DOOR)
        record.start()
        broker.remember()
        config = folder / "door.toml"
        config.write_text(
            _DOOR_TOML.format(site=DOOR.site, door=DOOR.door, folder=folder, url=broker.url, keep=KEEP),
            encoding="utf-8",
        )
        with Program(folder / "door.log", "flowing.py", config, notes, FPS, seed) as door:
            waiting, died = Waiting(door), {"door": 0, "broker": 0}
            try:
                for number in range(1, kills + 1):
                    heard = len(record.events)
                    waiting.wait_until(lambda: count(notes) >= events * number // (kills + 1), "events flow")  # noqa: B023
                    waiting.wait_until(lambda: len(record.events) > heard, "events arrive")  # noqa: B023
                    time.sleep(chance.uniform(0.0, 0.2))
                    victim = chance.choice(("door", "broker"))
                    died[victim] += 1
                    _kill(victim, broker, record, door)
                    if number % 20 == 0:
                        told(f"{number} of {kills} kills, {count(notes)} events")
                waiting.wait_until(lambda: count(notes) >= events, "the last events flow")
                record.wait()
                _let_end(door, waiting, record, notes)
            finally:
                record.close()
    return _report(folder, record, notes, seed, time.monotonic() - began, died)


def _kill(victim: str, broker: Broker, record: Record, door: Program) -> None:
    if victim == "door":
        door.kill()
        door.start()
        return
    record.wait()
    broker.kill()
    broker.start()
    record.wait()


def _let_end(door: Program, waiting: Waiting, record: Record, notes: Path) -> None:
    """Stop the door once it has reached the broker again; whatever it had to say it has then said."""
    noted = {one.id for one in notes_of(notes)}
    waiting.wait_until(lambda: noted <= {one.id for one in list(record.events)}, "everything arrives")
    door.stop()
    record.wait()


def stored_events(folder: Path, most: int = KEEP) -> tuple[list[Event], int]:
    """All events of an outbox, oldest first, and how many wait; the door must have ended."""

    def never(_lost: int) -> Event:
        raise InputError("events were lost")

    with Outbox(
        folder / "outbox.sqlite", OutboxConfig(keep_delivered=most), announce=never, now_s=lambda: None
    ) as outbox:
        return outbox.recent(most)[::-1], outbox.depth()


def _report(folder: Path, record: Record, notes: Path, seed: int, seconds: float, died: dict[str, int]) -> KillReport:
    events, depth = stored_events(folder / "state")
    stored = [StoredEvent(event.seq, event.id, event.dropped or 0) for event in events]
    noted = notes_of(notes)
    return KillReport(
        seed=seed,
        seconds=round(seconds, 1),
        door_kills=died["door"],
        broker_kills=died["broker"],
        stored=len(stored),
        noted=len(noted),
        arrived=len({one.id for one in record.events}),
        copies=len(record.events) - len({one.id for one in record.events}),
        door_opens=sum(event.kind == "door-open" for event in events),
        openings=len(record.openings),
        expired=sum(event.kind == "open-expired" for event in events),
        least_margin_ms=least_margin_ms(record),
        breaches=[
            *judge_store(noted, stored),
            *judge_events(stored, record.events),
            *judge_openings(stored, record.openings),
            *judge_end(depth, record.unreadable),
        ],
    )


def least_margin_ms(record: Record) -> float:
    """How long before its end the tightest opening came, milliseconds."""
    return round(min((one.expires_s - one.at_s for one in record.openings), default=0.0) * 1000, 1)
