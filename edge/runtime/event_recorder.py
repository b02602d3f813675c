"""Stores decisions and system events as events, before the door acts on them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from edge.core.cli_support import counted
from edge.core.clock import WallClock, wall_minus_monotonic_ns
from edge.core.config import DoorConfig
from edge.core.errors import OutboxError
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision
from edge.core.uuid7 import Uuid7Source
from edge.events.factory import EventContext, access_event, make_open_command, system_event
from edge.events.schema import Event, EventKind, OpenCommand
from edge.outbox.database import seq_from_clock
from edge.outbox.outbox import Outbox
from edge.runtime.journal import event_fields

log = logging.getLogger(__name__)

_MAINTAIN_EVERY_NS = 1_000_000_000  # the store and the clock are checked at most this often
_CLOCK_JUMP_NS = 2_000_000_000  # larger changes of wall clock minus monotonic clock mean that the clock was set
_WARNINGS = {
    EventKind.CAMERA_LOST,
    EventKind.CAMERA_BLIND,
    EventKind.OPEN_EXPIRED,
    EventKind.OPEN_UNHEARD,
    EventKind.RELEASE_REFUSED,
    EventKind.CLOCK_STEPPED,
}


class EventRecorder:
    """Records the events of one door. Only the constructor fails; if the store fails later, only open commands stop.

    Args:
        event_context: returns the fields that all events of the door share; called from several threads.
        wall_clock: wall clock of the store; its time source is used for everything else.
        make_outbox: constructor of the event store, `outbox`.

    Raises:
        OutboxError: the event store cannot be opened.
    """

    def __init__(
        self,
        config: DoorConfig,
        event_context: Callable[[], EventContext],
        wall_clock: WallClock,
        make_outbox: Callable[..., Outbox] = Outbox,
    ) -> None:
        self._event_context = event_context
        self._wall_clock = wall_clock
        self._clock = wall_clock.clock
        self._ids = Uuid7Source()
        self._counts_lock = threading.Lock()
        self._counts: Counter[EventKind] = Counter()
        self._open_max_age_ns = round(config.mqtt.open_max_age_s * 1e9)
        self._maintained_ns = 0
        self._offset_ns = wall_minus_monotonic_ns(self._clock)
        self.outbox = make_outbox(
            Path(config.state_folder) / "outbox.sqlite",
            config.outbox,
            announce=self._make_dropped_event,
            wall_clock=self._wall_clock,
            first_seq=seq_from_clock(self._clock.unix_ns() / 1e9) + 1,
        )

    def record_decision(self, decision: Decision) -> tuple[Event, OpenCommand | None] | None:
        """Store a decision as an event.

        Returns:
            The stored event, and its open command, if any. None: the store failed, so the door must not open.
        """
        at_ns = decision.t_ns + wall_minus_monotonic_ns(self._clock)
        event = access_event(decision, id=self._new_id(), at_ns=at_ns, door=self._event_context())
        person = event.person.id if event.person else "-"
        log.info("%s person=%s reason=%s", event.kind, person, event.reason, extra=event_fields(event.kind, event.id))
        try:
            event = msgspec.structs.replace(event, seq=self.outbox.append(event))
        except OutboxError:  # already logged by the outbox
            if decision.kind is AccessOutcome.DOOR_OPEN:
                self.record_event(EventKind.OPEN_EXPIRED, Reason.EVENT_NOT_STORED, person)
            return None
        self._count(event.kind)
        if decision.kind is not AccessOutcome.DOOR_OPEN:
            return event, None
        return event, make_open_command(event, expires_ns=at_ns + self._open_max_age_ns)

    def record_event(self, kind: EventKind, reason: Reason, detail: str = "") -> None:
        """Log and store a system event; if the disk fails, it is stored later."""
        event = self._make_system_event(kind, reason, detail)
        level = logging.WARNING if kind in _WARNINGS else logging.INFO
        log.log(level, "%s reason=%s%s", kind, reason, detail and f": {detail}", extra=event_fields(kind, event.id))
        self._append_quietly(event)

    def open_expired(self, message: OpenCommand, reason: Reason, detail: str = "") -> None:
        """Record that an open command may have arrived too late."""
        more = f": {detail}" if detail else ""
        self.record_event(EventKind.OPEN_EXPIRED, reason, f"{message.person.id}, seq {message.seq}{more}")

    def open_unheard(self, message: OpenCommand) -> None:
        """Record that no lock subscribes to the open commands."""
        detail = f"{message.person.id}, seq {message.seq}"
        self.record_event(EventKind.OPEN_UNHEARD, Reason.NO_LOCK_SUBSCRIBED, detail)

    def maintain(self) -> None:
        """Maintain the store, and record when the wall clock was set. Cheap; call it for every frame."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._maintained_ns < _MAINTAIN_EVERY_NS:
            return
        self._maintained_ns = now_ns
        offset_ns = wall_minus_monotonic_ns(self._clock)
        step_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(step_ns) > _CLOCK_JUMP_NS:
            reason = Reason.CLOCK_SET_FORWARD if step_ns > 0 else Reason.CLOCK_SET_BACK
            self.record_event(EventKind.CLOCK_STEPPED, reason, f"by {abs(step_ns) / 1e9:.1f} s")
        self.outbox.maintain()
        for notice in self.outbox.drain_notices():
            self._append_quietly(
                self._make_system_event(notice.kind, notice.reason, notice.detail)
            )  # logged by the outbox

    def counts(self) -> Mapping[EventKind, int]:
        """Number of stored events of each kind since the start."""
        with self._counts_lock:
            return dict(self._counts)

    def problems(self) -> list[str]:
        """Current problems of the store, one line each."""
        problems = [self.outbox.problem()] if self.outbox.problem() else []
        if held := self.outbox.unsaved_count():
            problems.append(f"{counted(held, 'event')} only in memory, because the disk does not accept writes")
        if dropped := self.outbox.dropped():
            problems.append(f"{counted(dropped, 'event')} lost: the event store was full, or they were too old")
        return problems

    def _append_quietly(self, event: Event) -> None:
        try:
            self.outbox.append(event)
        except OutboxError as error:
            log.debug("%s", error)  # already logged by the outbox
        else:
            self._count(event.kind)

    def _make_dropped_event(self, count: int) -> Event:
        self._count(EventKind.EVENTS_DROPPED)
        return self._make_system_event(EventKind.EVENTS_DROPPED, Reason.EVENTS_LOST, f"{count}", dropped=count)

    def _make_system_event(self, kind: EventKind, reason: Reason, detail: str, dropped: int | None = None) -> Event:
        now_ns, door = self._clock.unix_ns(), self._event_context()
        return system_event(kind, reason, detail, id=self._new_id(), at_ns=now_ns, door=door, dropped=dropped)

    def _count(self, kind: EventKind) -> None:
        with self._counts_lock:
            self._counts[kind] += 1

    def _new_id(self) -> str:
        return self._ids.new(self._clock.unix_ns() // 1_000_000)
