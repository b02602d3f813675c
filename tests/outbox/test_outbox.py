"""The outbox: durable before `append` returns, in order, bounded, with every loss reported."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.manual_clock import ManualClock
from support.mqtt_brokers import an_event
from support.outboxes import (
    DAY_S,
    details,
    no_writing,
    open_outbox,
)

from edge.core.errors import OutboxError
from edge.events.schema import EventKind


def test_events_in_order_with_their_numbers(tmp_path: Path) -> None:
    """Oldest first, numbered from 1."""
    with open_outbox(tmp_path) as outbox:
        events = [an_event(text) for text in "abc"]
        assert [outbox.append(event) for event in events] == [1, 2, 3]
        assert [(event.seq, event.id) for event in outbox.pending()] == [(n + 1, e.id) for n, e in enumerate(events)]
        assert details(outbox, after_seq=2) == ["c"]
        assert [event.seq for event in outbox.pending(limit=2)] == [1, 2]
        assert outbox.depth() == 3


def test_acknowledged_event_is_not_pending(tmp_path: Path) -> None:
    """An acknowledgement covers all events up to its number; a lower number changes nothing."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(2)
        outbox.acknowledge(1)
        assert (details(outbox), outbox.depth(), outbox.acknowledged_seq()) == (["c"], 1, 2)


def test_state_survives_reopening(tmp_path: Path) -> None:
    """Pending events, acknowledged number and depth."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(1)
    with open_outbox(tmp_path) as outbox:
        assert (details(outbox), outbox.depth(), outbox.acknowledged_seq()) == (["b", "c"], 2, 1)


def test_event_survives_a_killed_process(tmp_path: Path) -> None:
    """The event is on disk when `append` has returned."""
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from support.mqtt_brokers import an_event\n"
        "from support.outboxes import open_outbox\n"
        "open_outbox(Path(sys.argv[1])).append(an_event('kept')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = str(Path(__file__).parents[1])
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), here], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    with open_outbox(tmp_path) as outbox:
        assert details(outbox) == ["kept"]


def test_numbers_rise_in_an_empty_store(tmp_path: Path) -> None:
    """Also after all rows were deleted and the program restarted."""
    for expected in (1, 2, 3):
        with open_outbox(tmp_path, keep_delivered=0) as outbox:
            seq = outbox.append(an_event())
            assert seq == expected
            outbox.acknowledge(seq)
            assert outbox.recent() == []


def test_only_the_latest_delivered_events_are_kept(tmp_path: Path) -> None:
    """`keep_delivered` of them, and all undelivered ones."""
    with open_outbox(tmp_path, keep_delivered=2) as outbox:
        for text in "abcdef":
            outbox.append(an_event(text))
        outbox.acknowledge(4)
        assert [event.detail for event in outbox.recent()] == ["f", "e", "d", "c"]


def test_oldest_events_beyond_the_limit_are_dropped(tmp_path: Path) -> None:
    """One event reports their number once the broker is back, also after a restart."""
    with open_outbox(tmp_path, max_events=3) as outbox:
        for text in "abcde":
            outbox.append(an_event(text))
        assert (details(outbox), outbox.depth(), outbox.dropped()) == (["c", "d", "e"], 3, 2)
    with open_outbox(tmp_path, max_events=3) as outbox:
        assert outbox.dropped() == 2
        outbox.acknowledge(3)
        outbox.acknowledge(5)
        (event,) = outbox.pending()
        assert (event.kind, event.dropped, event.seq) == (EventKind.EVENTS_DROPPED, 2, 6)
        assert (outbox.depth(), outbox.dropped()) == (1, 0)


def test_dropped_announcement_keeps_its_count(tmp_path: Path) -> None:
    """Two outages in a row: the second announcement includes the losses of the first."""
    with open_outbox(tmp_path, max_events=2) as outbox:
        for text in "abcd":
            outbox.append(an_event(text))
        outbox.acknowledge(4)
        assert [event.dropped for event in outbox.pending()] == [2]
        for text in "ef":
            outbox.append(an_event(text))
        assert (details(outbox), outbox.dropped()) == (["e", "f"], 2)


def test_reported_loss_is_not_reported_again_after_a_restart(tmp_path: Path) -> None:
    """The count on disk goes back to 0 with the event that reports it."""
    with open_outbox(tmp_path, max_events=2) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(3)
    with open_outbox(tmp_path, max_events=2) as outbox:
        assert outbox.dropped() == 0
        outbox.acknowledge(4)
        assert outbox.pending() == []


def test_events_beyond_the_memory_limit_are_counted(tmp_path: Path) -> None:
    """The oldest events in memory are dropped, and an event reports their number."""
    with open_outbox(tmp_path, max_unsaved=60) as outbox:
        outbox.append(an_event("before"))
        with no_writing():
            for number in range(100):
                with contextlib.suppress(OutboxError):
                    outbox.append(an_event(str(number)))
            assert outbox.unsaved_count() == 60
            assert "cannot be written" in outbox.problem()
        outbox.maintain()
        assert (outbox.unsaved_count(), outbox.problem()) == (0, "")
        events = outbox.pending(limit=2000)
        lost = 101 - len(events)
        assert 0 < lost == outbox.dropped()
        assert [event.detail for event in events[-60:]] == [str(number) for number in range(40, 100)]
    with open_outbox(tmp_path) as outbox:
        assert outbox.dropped() == lost, "the count is on disk"
        outbox.acknowledge(events[-1].seq)
        assert [event.dropped for event in outbox.pending()] == [lost]


def test_acknowledgement_on_a_failing_disk_is_stored_later(tmp_path: Path) -> None:
    """By `maintain`, which also clears the problem."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event())
        with no_writing(), pytest.raises(OutboxError):
            outbox.acknowledge(1)
        assert (outbox.acknowledged_seq(), outbox.pending()) == (1, [])
        outbox.maintain()
        assert (outbox.problem(), outbox.depth()) == ("", 0)


def test_events_lost_at_the_end_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The disk fails until the door stops."""
    with open_outbox(tmp_path) as outbox, no_writing():
        with pytest.raises(OutboxError):
            outbox.append(an_event())
        outbox.close()
        assert outbox.unsaved_count() == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_delivered_events_do_not_count_for_the_limit(tmp_path: Path) -> None:
    """Only waiting events count."""
    with open_outbox(tmp_path, max_events=2, keep_delivered=10) as outbox:
        for text in "abcdef":
            outbox.acknowledge(outbox.append(an_event(text)))
        assert outbox.dropped() == 0


def test_concurrent_append_and_drain(tmp_path: Path) -> None:
    """All events arrive once and in order."""
    seen: list[int] = []
    done = threading.Event()

    def drain() -> None:
        while not done.is_set() or outbox.depth():
            for event in outbox.pending(limit=7):
                seen.append(event.seq)
                outbox.acknowledge(event.seq)

    with open_outbox(tmp_path) as outbox:
        drainer = threading.Thread(target=drain)
        drainer.start()
        for _ in range(150):
            outbox.append(an_event())
        done.set()
        drainer.join(10)
    assert seen == list(range(1, 151))


def test_listener_is_called_after_storing(tmp_path: Path) -> None:
    """The event can be read in the call."""
    with open_outbox(tmp_path) as outbox:
        received: list[list[str | None]] = []
        outbox.on_append(lambda: received.append(details(outbox)))
        outbox.append(an_event("a"))
        outbox.on_append(None)
        outbox.append(an_event("b"))
        assert received == [["a"]]


def test_unreadable_event_does_not_block_others(tmp_path: Path) -> None:
    """It is dropped, counted and announced."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
    db = sqlite3.connect(tmp_path / "outbox.db")
    with db:
        db.execute("UPDATE event SET body = x'00' WHERE seq = 2")
    db.close()
    with open_outbox(tmp_path) as outbox:
        assert (details(outbox), outbox.depth(), outbox.dropped()) == (["a", "c"], 2, 1)
    with open_outbox(tmp_path) as outbox:
        assert outbox.dropped() == 1, "the count is on disk"
        outbox.acknowledge(3)
        assert [event.dropped for event in outbox.pending()] == [1]


def test_sweep_that_drops_nothing_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event())
        outbox.maintain()
    assert caplog.records == []


def test_events_that_wait_too_long_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The oldest only; they are counted, announced and logged once."""
    clock = ManualClock()
    with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
        for text in "ab":
            outbox.append(an_event(text))
        clock.advance(1.5 * DAY_S)
        outbox.append(an_event("c"))
        outbox.maintain()
        assert details(outbox) == ["a", "b", "c"]
    clock.advance(DAY_S)
    with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
        outbox.maintain()
        assert (details(outbox), outbox.depth(), outbox.dropped()) == (["c"], 1, 2)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        clock.advance(2 * DAY_S)
        outbox.maintain()
        assert (details(outbox), outbox.dropped()) == ([], 3)
        outbox.acknowledge(3)
        assert [event.dropped for event in outbox.pending()] == [3]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_age_is_examined_once_an_hour(tmp_path: Path) -> None:
    """Examination at every frame would cost too much."""
    clock = ManualClock()
    with open_outbox(tmp_path, max_age_days=1, clock=clock) as outbox:
        outbox.append(an_event())
        clock.advance(DAY_S - 1800)
        outbox.maintain()
        clock.advance(3599)
        outbox.maintain()
        assert outbox.depth() == 1
        clock.advance(1)
        outbox.maintain()
        assert outbox.depth() == 0


def test_events_do_not_age_before_the_clock_is_set(tmp_path: Path) -> None:
    """A clock that jumps from 1970 to today makes no event old; events without a time expire with the next old one."""
    clock = ManualClock(unix_s=600, synced=False)
    with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
        outbox.append(an_event("before the clock was set"))
        clock.step_wall(1_900_000_000)
        clock.synced = True
        clock.advance(1)
        outbox.maintain()
        assert outbox.depth() == 1
        outbox.append(an_event("after"))
    for days, left in ((1.0, 2), (2.0, 0)):
        clock.advance(days * DAY_S + 10)
        with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
            outbox.maintain()
            assert outbox.depth() == left


def test_trusted_clock_before_2020(tmp_path: Path) -> None:
    """It counts as set, but shows a time before the first door."""
    clock = ManualClock(unix_s=1_500_000_000)
    with open_outbox(tmp_path, max_age_days=1, clock=clock) as outbox:
        outbox.append(an_event())
        clock.advance(100 * DAY_S)
        outbox.maintain()
        assert outbox.depth() == 1


@pytest.mark.parametrize("step_s", [-1000 * DAY_S, 3650 * DAY_S])
def test_wrong_timestamp_does_not_stop_ageing(tmp_path: Path, step_s: float) -> None:
    """One event has a time that is years off."""
    clock = ManualClock()
    with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
        clock.step_wall(step_s)
        outbox.append(an_event("stamped wrong"))
        clock.step_wall(-step_s)
        outbox.append(an_event("stamped right"))
    clock.advance(3 * DAY_S)
    with open_outbox(tmp_path, max_age_days=2, clock=clock) as outbox:
        outbox.maintain()
        assert (outbox.depth(), outbox.dropped()) == (0, 2)


def test_expired_records_leave_no_trace(tmp_path: Path) -> None:
    """Not in the database, its log or the damaged copy: every byte of the folder is checked."""
    clock = ManualClock()
    with open_outbox(tmp_path, keep_delivered=1000, keep_delivered_days=7, clock=clock) as outbox:
        for number in range(200):
            outbox.append(an_event(f"Ada Lovelace {number}"))
        outbox.acknowledge(200)
        (tmp_path / "outbox.db.damaged").write_bytes(b"Ada Lovelace")
        os.utime(tmp_path / "outbox.db.damaged", ns=(clock.unix_ns(), clock.unix_ns()))
        clock.advance(7 * DAY_S - 3)
        outbox.maintain()
        assert len(outbox.recent(1000)) == 200
        outbox.append(an_event("somebody else"))
    clock.advance(0.2 * DAY_S)
    with open_outbox(tmp_path, keep_delivered=1000, keep_delivered_days=7, clock=clock) as outbox:
        assert traces(tmp_path, b"Ada Lovelace") > 200
        outbox.maintain()
        assert [event.detail for event in outbox.recent(1000)] == ["somebody else"]
        assert traces(tmp_path, b"Ada Lovelace") == 0


def test_single_delivered_event_is_deleted_in_time(tmp_path: Path) -> None:
    """Also the very first event, while later ones wait."""
    clock = ManualClock()
    with open_outbox(tmp_path, keep_delivered_days=1, clock=clock) as outbox:
        outbox.acknowledge(outbox.append(an_event("old")))
        clock.advance(DAY_S + 1)
        outbox.append(an_event("new"))
        outbox.maintain()
        assert [event.detail for event in outbox.recent()] == ["new"]
        assert (outbox.depth(), outbox.dropped()) == (1, 0)


def test_delivered_events_beyond_the_limit_leave_no_trace(tmp_path: Path) -> None:
    """SQLite overwrites deleted rows; otherwise names would remain in free pages."""
    with open_outbox(tmp_path, keep_delivered=0) as outbox:
        for number in range(200):
            outbox.append(an_event(f"Ada Lovelace {number}"))
        outbox.acknowledge(200)
    assert traces(tmp_path, b"Ada Lovelace") == 0


def traces(folder: Path, what: bytes) -> int:
    return sum(file.read_bytes().count(what) for file in folder.iterdir())


def test_closing_twice_and_use_after_closing(tmp_path: Path) -> None:
    """The first is allowed, the second is a clear error."""
    outbox = open_outbox(tmp_path)
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="already closed"):
        outbox.append(an_event())
