"""EventRecorder: events are stored before actions, with the right time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from support.decisions import a_decision
from support.manual_clock import ManualClock

from edge.core.clock import WallClock
from edge.core.config import DoorConfig, MqttConfig
from edge.core.errors import OutboxError
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome
from edge.events.factory import EventContext
from edge.events.schema import Event, EventKind
from edge.outbox.outbox import Outbox
from edge.runtime.event_recorder import EventRecorder

NOW_S = 1_900_000_000


class FailingOutbox(Outbox):
    """Rejects events of decisions, as a full disk does; stores all others."""

    def append(self, event: Event) -> int:
        if event.kind in (EventKind.DOOR_OPEN, EventKind.DENIED):
            raise OutboxError("the disk is full")
        return super().append(event)


def config_of(folder: Path) -> DoorConfig:
    return DoorConfig(site="home", door="front", state_folder=str(folder), mqtt=MqttConfig(open_max_age_s=2.5))


def make_recorder(folder: Path, clock: ManualClock, make_outbox: type[Outbox] = Outbox) -> EventRecorder:
    def context() -> EventContext:
        return EventContext("front", clock.is_synced(), "7")

    return EventRecorder(config_of(folder), context, WallClock(clock, trusted=True), make_outbox)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(unix_s=NOW_S, monotonic_s=5000)


@pytest.fixture
def recorder(tmp_path: Path, clock: ManualClock) -> Iterator[EventRecorder]:
    recorder = make_recorder(tmp_path, clock)
    with recorder.outbox:
        yield recorder


def kinds(recorder: EventRecorder) -> list[str]:
    return [str(event.kind) for event in reversed(recorder.outbox.recent(100))]


def unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_open_decision_is_stored_and_gives_an_open_command(recorder: EventRecorder, clock: ManualClock) -> None:
    """Both have the capture time of the frame; the command expires `open_max_age_s` later."""
    recorded = recorder.record_decision(a_decision(t_ns=clock.monotonic_ns() - 10**9))
    assert recorded is not None
    event, command = recorded
    assert command is not None
    (stored,) = recorder.outbox.recent(10)
    assert msgspec.structs.replace(stored, published_at=None) == event
    assert (command.id, command.seq, command.at) == (event.id, event.seq, event.at)
    assert unix_s(event.at) == NOW_S - 1
    assert unix_s(command.expires_at) == NOW_S + 1.5
    assert recorder.counts() == {EventKind.DOOR_OPEN: 1}


def test_denied_decision_gives_no_open_command(recorder: EventRecorder, clock: ManualClock) -> None:
    recorded = recorder.record_decision(a_decision(AccessOutcome.DENIED, clock.monotonic_ns()))
    assert recorded is not None
    assert recorded[1] is None
    assert kinds(recorder) == ["denied"]


def test_decision_that_cannot_be_stored_opens_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """A lost open command is recorded as an event; a lost denial is not."""
    recorder = make_recorder(tmp_path, clock, FailingOutbox)
    with recorder.outbox:
        assert recorder.record_decision(a_decision(AccessOutcome.DENIED, clock.monotonic_ns())) is None
        assert recorder.record_decision(a_decision(t_ns=clock.monotonic_ns())) is None
        assert kinds(recorder) == ["open-expired"]
        assert recorder.outbox.recent(1)[0].reason is Reason.EVENT_NOT_STORED


def test_wall_clock_step_is_recorded(recorder: EventRecorder, clock: ManualClock) -> None:
    """Once, with direction and size; a drift of less than two seconds is not recorded."""
    for seconds in (0.5, 3600.0, -60.0):
        clock.step_wall(seconds)
        clock.advance(1)
        recorder.maintain()
        recorder.maintain()
    steps = [(event.reason, event.detail) for event in reversed(recorder.outbox.recent(10))]
    assert steps == [(Reason.CLOCK_SET_FORWARD, "by 3600.0 s"), (Reason.CLOCK_SET_BACK, "by 60.0 s")]


def test_failed_open_commands_are_recorded(recorder: EventRecorder, clock: ManualClock) -> None:
    recorded = recorder.record_decision(a_decision(t_ns=clock.monotonic_ns()))
    assert recorded is not None
    assert recorded[1] is not None
    recorder.open_expired(recorded[1], Reason.BROKER_NOT_CONNECTED, "unreachable")
    recorder.open_unheard(recorded[1])
    assert kinds(recorder) == ["door-open", "open-expired", "open-unheard"]
    assert recorder.outbox.recent(2)[1].detail == f"ada, seq {recorded[1].seq}: unreachable"


def test_no_problems_at_first(recorder: EventRecorder) -> None:
    assert recorder.problems() == []
