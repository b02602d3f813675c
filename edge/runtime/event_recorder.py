"""What happens at the door, put on record: made into an event and stored, before anybody acts on it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.core.clock import WallClock
from edge.core.config import DoorConfig
from edge.core.errors import OutboxError
from edge.core.records import AccessOutcome, Decision
from edge.core.uuid7 import Uuid7Source
from edge.events.factory import EventContext, access_event, make_open_command, system_event
from edge.events.schema import Event, EventKind, OpenCommand
from edge.outbox.outbox import Outbox
from edge.outbox.sequence import seq_from_clock
from edge.runtime.journal import event_fields

log = logging.getLogger(__name__)

_MAINTAIN_EVERY_NS = 1_000_000_000  # the store and the clock are looked after at most once in so long
_CLOCK_JUMP_NS = 2_000_000_000  # a wall clock that moved so much against the monotonic one was set
_LOG_LEVELS = dict.fromkeys(
    (
        EventKind.CAMERA_LOST,
        EventKind.CAMERA_BLIND,
        EventKind.OPEN_EXPIRED,
        EventKind.OPEN_UNHEARD,
        EventKind.RELEASE_REFUSED,
        EventKind.CLOCK_STEPPED,
    ),
    logging.WARNING,
)


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision on record: the id and number of its event, and the opening that it leads to, if any."""

    event_id: str
    seq: int
    opening: OpenCommand | None


class EventRecorder:
    """The events of one door. Only making it can fail: a store that fails later holds up nothing but openings.

    Args:
        config: of the door.
        circumstances: what every event says about the door; called from several threads.
        clock: the wall clock, as far as it is trusted.

    Attributes:
        outbox: where the events wait for the broker.

    Raises:
        OutboxError: the store cannot be used at all.
    """

    def __init__(self, config: DoorConfig, circumstances: Callable[[], EventContext], clock: WallClock) -> None:
        self._circumstances = circumstances
        self._clock = clock
        self._ids = Uuid7Source()
        self._counting = threading.Lock()
        self._counts: Counter[EventKind] = Counter()
        self._open_max_age_ns = round(config.mqtt.open_max_age_s * 1e9)
        self._tended_ns = 0
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self.outbox = Outbox(
            Path(config.state_folder) / "outbox.sqlite",
            config.outbox,
            announce=self._make_dropped_event,
            now_s=self._now_s,
            first_seq=seq_from_clock(time.time()) + 1,
        )

    def record_decision(self, decision: Decision) -> RecordedDecision | None:
        """Record a decision; None if that cannot be done, and then nothing opens."""
        now_ns = time.time_ns()
        at_ns = now_ns - (time.monotonic_ns() - decision.t_ns)
        event = access_event(decision, id=self._new_id(), at_ns=at_ns, door=self._circumstances())
        person = event.person.id if event.person else "-"
        log.info("%s %s: %s", event.kind, person, event.reason, extra=event_fields(event.kind, event.id))
        try:
            seq = self.outbox.append(event)
        except OutboxError:  # the outbox has said so itself
            if decision.kind is AccessOutcome.DOOR_OPEN:
                self.record_event(
                    EventKind.OPEN_EXPIRED, f"{person}: could not be put on record, so nothing was opened"
                )
            return None
        self._count(event.kind)
        opens = decision.kind is AccessOutcome.DOOR_OPEN
        opening = make_open_command(event, seq=seq, expires_ns=at_ns + self._open_max_age_ns) if opens else None
        return RecordedDecision(event.id, seq, opening)

    def record_event(self, kind: EventKind, reason: str) -> None:
        """Record something that befell the door, and log it; on a disk that takes nothing, as soon as it does."""
        event = self._make_system_event(kind, reason)
        log.log(_LOG_LEVELS.get(kind, logging.INFO), "%s: %s", kind, reason, extra=event_fields(kind, event.id))
        self._append_quietly(event)

    def open_expired(self, message: OpenCommand, why: str) -> None:
        """Record that an opening did not surely arrive in time."""
        self.record_event(EventKind.OPEN_EXPIRED, f"{message.person.id}, seq {message.seq}: {why}")

    def open_unheard(self, message: OpenCommand) -> None:
        """Record that nobody received an opening."""
        self.record_event(
            EventKind.OPEN_UNHEARD, f"{message.person.id}, seq {message.seq}: no lock subscribes to this door"
        )

    def maintain(self) -> None:
        """Look after the store, and notice when the clock was set. Cheap; call it with every frame."""
        now_ns = time.monotonic_ns()
        if now_ns - self._tended_ns < _MAINTAIN_EVERY_NS:
            return
        self._tended_ns = now_ns
        offset_ns = time.time_ns() - time.monotonic_ns()
        step_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(step_ns) > _CLOCK_JUMP_NS:
            way = "forward" if step_ns > 0 else "back"
            self.record_event(EventKind.CLOCK_STEPPED, f"the clock was set {way} by {abs(step_ns) / 1e9:.1f} s")
        self.outbox.maintain()
        for notice in self.outbox.drain_notices():
            self._append_quietly(self._make_system_event(notice.kind, notice.reason))  # the outbox has said so itself

    def counts(self) -> Mapping[EventKind, int]:
        """How many events of each kind were put on record since the start."""
        with self._counting:
            return dict(self._counts)

    def problems(self) -> list[str]:
        """What somebody should look at, a line each."""
        problems = [self.outbox.problem()] if self.outbox.problem() else []
        if held := self.outbox.unsaved_count():
            problems.append(f"{held} events are only in memory: the disk does not take them")
        if dropped := self.outbox.dropped():
            problems.append(f"{dropped} events were lost: more than the event store holds, or older")
        return problems

    def _append_quietly(self, event: Event) -> None:
        try:
            self.outbox.append(event)
        except OutboxError as error:
            log.debug("%s", error)  # the outbox has said so itself
        else:
            self._count(event.kind)

    def _make_dropped_event(self, count: int) -> Event:
        reason = f"{count} events were lost: more than the event store holds, or older"
        self._count(EventKind.EVENTS_DROPPED)
        return self._make_system_event(EventKind.EVENTS_DROPPED, reason, dropped=count)

    def _make_system_event(self, kind: EventKind, reason: str, dropped: int | None = None) -> Event:
        return system_event(
            kind, reason, id=self._new_id(), at_ns=time.time_ns(), door=self._circumstances(), dropped=dropped
        )

    def _count(self, kind: EventKind) -> None:
        with self._counting:
            self._counts[kind] += 1

    def _new_id(self) -> str:
        return self._ids.new(time.time_ns() // 1_000_000)

    def _now_s(self) -> float | None:
        """Also a trusted clock is not set when it shows a time before there were doors: its battery is empty."""
        now_s = time.time()
        return now_s if self._clock.wall_minus_monotonic_ns() is not None and seq_from_clock(now_s) else None
