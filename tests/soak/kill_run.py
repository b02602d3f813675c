"""Kills door and broker at random while events flow, and checks the invariants afterwards.

The door is the real daemon with fake vision, for speed; the broker is a real Mosquitto. Mosquitto acknowledges an event
before storing it, so a kill loses the events that wait for an absent listener. Therefore the broker is killed only
while the listener is connected. The door may be killed at any moment.
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
from soak.broker import SoakBroker
from soak.child_process import ChildProcess
from soak.invariants import StoredEvent, Violation, check_end, check_events, check_opens, check_store
from soak.recording_listener import Recording
from soak.recording_outbox import count_notes, read_notes

DOOR = Topics("soak", "front")
KEEP = 1_000_000  # delivered events kept, so that all can be counted at the end
FPS = 150.0  # about nineteen visits a second
PATIENCE_S = 120.0
_DOOR_TOML = """site = "{site}"
door = "{door}"
state_folder = "{folder}/state"
[camera]
source = "/dev/fake"
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
    """Result of a kill run; `violations` is empty if every invariant held."""

    seed: int
    seconds: float
    door_kills: int
    broker_kills: int
    stored: int
    noted: int
    arrived: int
    copies: int
    door_opens: int
    opens: int
    expired: int
    min_margin_ms: float
    violations: list[Violation]


def wait_until(door: ChildProcess, condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds.

    Raises:
        InputError: the condition does not hold in time, or the door has ended.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if not door.alive():
            raise InputError(f"the door ended unexpectedly: {door.last_log_line}")
        if time.monotonic() > deadline:
            raise InputError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.01)


def kill_run(folder: Path, *, kills: int, events: int, seed: int, progress: Callable[[str], None]) -> KillReport:
    """Kill door and broker `kills` times in all, at random, while at least `events` events flow.

    Args:
        folder: folder for all files of the run, empty or new.
        kills: number of kills. Door and broker have equal probability.
        events: number of events, spread over the kills.
        seed: seed of every random draw except those of the operating system.
        progress: function that receives a line from time to time.

    Raises:
        InputError: mosquitto is not installed, or the run cannot continue.
    """
    began, draw = time.monotonic(), random.Random(seed)
    notes = folder / "notes.jsonl"
    with SoakBroker(folder / "broker") as broker:
        recording = Recording(broker.port, DOOR)
        recording.start()
        broker.save_subscriptions()
        config = folder / "door.toml"
        config.write_text(
            _DOOR_TOML.format(site=DOOR.site, door=DOOR.door, folder=folder, url=broker.url, keep=KEEP),
            encoding="utf-8",
        )
        with ChildProcess(folder / "door.log", "kill_run_door.py", config, notes, FPS, seed) as door:
            killed = {"door": 0, "broker": 0}
            try:
                for number in range(1, kills + 1):
                    received = len(recording.events)
                    wait_until(door, lambda: count_notes(notes) >= events * number // (kills + 1), "events flow")  # noqa: B023
                    wait_until(door, lambda: len(recording.events) > received, "events arrive")  # noqa: B023
                    time.sleep(draw.uniform(0.0, 0.2))
                    victim = draw.choice(("door", "broker"))
                    killed[victim] += 1
                    _kill(victim, broker, recording, door)
                    if number % 20 == 0:
                        progress(f"{number} of {kills} kills, {count_notes(notes)} events")
                wait_until(door, lambda: count_notes(notes) >= events, "the last events flow")
                recording.wait()
                _stop(door, recording, notes)
            finally:
                recording.close()
    return _report(folder, recording, notes, seed, time.monotonic() - began, killed)


def _kill(victim: str, broker: SoakBroker, recording: Recording, door: ChildProcess) -> None:
    if victim == "door":
        door.kill()
        door.start()
        return
    recording.wait()
    broker.close()
    broker.start()
    recording.wait()


def _stop(door: ChildProcess, recording: Recording, notes: Path) -> None:
    """Stop the door when all its events have arrived."""
    noted = {one.id for one in read_notes(notes)}
    wait_until(door, lambda: noted <= {one.id for one in list(recording.events)}, "everything arrives")
    door.stop()
    recording.wait()


def stored_events(folder: Path, limit: int = KEEP) -> tuple[list[Event], int]:
    """Return all events of an outbox, oldest first, and the number that wait; the door must have ended."""

    def never(_lost: int) -> Event:
        raise InputError("events were lost")

    with Outbox(folder / "outbox.sqlite", OutboxConfig(keep_delivered=limit), announce=never) as outbox:
        return outbox.recent(limit)[::-1], outbox.depth()


def _report(
    folder: Path, recording: Recording, notes: Path, seed: int, seconds: float, killed: dict[str, int]
) -> KillReport:
    events, depth = stored_events(folder / "state")
    stored = [StoredEvent(event.seq, event.id, event.dropped or 0) for event in events]
    noted = read_notes(notes)
    return KillReport(
        seed=seed,
        seconds=round(seconds, 1),
        door_kills=killed["door"],
        broker_kills=killed["broker"],
        stored=len(stored),
        noted=len(noted),
        arrived=len({one.id for one in recording.events}),
        copies=len(recording.events) - len({one.id for one in recording.events}),
        door_opens=sum(event.kind == "door-open" for event in events),
        opens=len(recording.opens),
        expired=sum(event.kind == "open-expired" for event in events),
        min_margin_ms=min_margin_ms(recording),
        violations=[
            *check_store(noted, stored),
            *check_events(stored, recording.events),
            *check_opens(stored, recording.opens),
            *check_end(depth, recording.unreadable),
        ],
    )


def min_margin_ms(recording: Recording) -> float:
    """Shortest time between the arrival and the expiry of an open command, milliseconds."""
    return round(min((one.expires_s - one.at_s for one in recording.opens), default=0.0) * 1000, 1)
