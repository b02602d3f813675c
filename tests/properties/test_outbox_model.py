"""The outbox compared with a simple model, with crashes and too little room."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.manual_clock import ManualClock
from support.mqtt_brokers import an_event
from support.outboxes import open_outbox

from edge.events.schema import Event
from edge.outbox.outbox import Outbox

MOST = 6
EVERYTHING = 1000


class Deliveries(RuleBasedStateMachine):
    """Events arrive, the broker accepts some, the power fails. The model: waiting, delivered and lost events."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.turn = 0
        self.highest = 0
        self.acknowledged = 0
        self.waiting: list[Event] = []
        self.arrived: list[Event] = []
        self.lost = 0
        self.outbox = self.opened()

    def opened(self) -> Outbox:
        folder = self.home / str(self.turn)
        folder.mkdir(exist_ok=True)
        (folder / "outbox.ballast").touch()
        return open_outbox(folder, MOST, 2, clock=ManualClock(synced=False))

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        for _ in range(count):
            event = an_event()
            seq = self.outbox.append(event)
            assert seq > self.highest, "numbers rise strictly"
            self.highest = seq
            self.settle([*[(one.seq, one.id) for one in self.waiting], (seq, event.id)])

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """The broker acknowledges everything up to one waiting event; a repetition changes nothing."""
        upto = data.draw(st.sampled_from([event.seq for event in self.waiting]))
        told = self.outbox.dropped()
        for _ in range(2):
            self.outbox.acknowledge(upto)
        self.acknowledged = upto
        self.arrived += [event for event in self.waiting if event.seq <= upto]
        left = [(event.seq, event.id) for event in self.waiting if event.seq > upto]
        found = self.outbox.pending(limit=EVERYTHING)
        if told:
            assert found[-1].dropped == told, "losses are announced as soon as something gets through"
            assert found[-1].seq > self.highest
            self.highest = found[-1].seq
            left.append((found[-1].seq, found[-1].id))
        self.settle(left)

    @rule(after=st.integers(0, 3), limit=st.integers(1, 4))
    def peek(self, after: int, limit: int) -> None:
        start = self.acknowledged + after
        wanted = [event.id for event in self.waiting if event.seq > start][:limit]
        assert [event.id for event in self.outbox.pending(start, limit)] == wanted

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.opened()

    @rule()
    def crash(self) -> None:
        """Reopen copies of the files as they are now, without closing the store."""
        before = self.home / str(self.turn)
        self.turn += 1
        shutil.copytree(before, self.home / str(self.turn))
        self.outbox.close()
        shutil.rmtree(before)
        self.outbox = self.opened()

    @invariant()
    def nothing_is_lost_unsaid(self) -> None:
        assert [(event.seq, event.id) for event in self.outbox.pending(limit=EVERYTHING)] == [
            (event.seq, event.id) for event in self.waiting
        ]
        assert (self.outbox.depth(), self.outbox.acknowledged_seq()) == (len(self.waiting), self.acknowledged)
        assert len(self.waiting) <= MOST + 1  # one more if a loss is reported
        announced = sum(event.dropped or 0 for event in [*self.arrived, *self.waiting])
        assert self.lost == self.outbox.dropped() + announced

    def settle(self, expected: list[tuple[int, str]]) -> None:
        """The waiting events are the newest of the expected ones; the missing older ones are lost."""
        announcements = {event.id for event in self.waiting if event.dropped}
        self.waiting = self.outbox.pending(limit=EVERYTHING)
        found = [(event.seq, event.id) for event in self.waiting]
        gone = expected[: len(expected) - len(found)]
        assert [*gone, *found] == expected, "only the oldest are dropped, and the order is kept"
        self.lost += sum(id_ not in announcements for _, id_ in gone)

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.home)


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, derandomize=True)
