"""The outbox: on disk before anyone is told, in order, bounded, and plain about what is wrong with its file."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.door_process import a_disk
from support.mqtt_brokers import T0_NS, an_event, announce

from edge.core.config import OutboxConfig
from edge.core.errors import OutboxError
from edge.events.schema import EventKind
from edge.outbox.database import DiskError, EventDatabase
from edge.outbox.outbox import Outbox
from edge.outbox.retention import insert
from edge.outbox.sequence import SequenceFloor, seq_from_clock

DAY_S = 86_400.0
NOW_S = T0_NS / 1e9


def open_outbox(
    folder: Path,
    max_events: int = 1000,
    keep_delivered: int = 10,
    *,
    max_age_days: float = 90,
    keep_delivered_days: float = 30,
    now_s: Callable[[], float | None] = lambda: NOW_S,
    first_seq: int = 1,
) -> Outbox:
    config = OutboxConfig(
        max_events=max_events,
        keep_delivered=keep_delivered,
        max_age_days=max_age_days,
        keep_delivered_days=keep_delivered_days,
    )
    return Outbox(folder / "outbox.db", config, announce=announce, now_s=now_s, first_seq=first_seq)


def reasons(outbox: Outbox, after_seq: int = 0) -> list[str]:
    return [event.reason for event in outbox.pending(after_seq)]


def test_events_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    """What went in comes out, oldest first, numbered from 1."""
    with open_outbox(tmp_path) as outbox:
        events = [an_event(text) for text in "abc"]
        assert [outbox.append(event) for event in events] == [1, 2, 3]
        assert [(event.seq, event.id) for event in outbox.pending()] == [(n + 1, e.id) for n, e in enumerate(events)]
        assert reasons(outbox, after_seq=2) == ["c"]
        assert [event.seq for event in outbox.pending(limit=2)] == [1, 2]
        assert outbox.depth() == 3


def test_an_acknowledged_event_is_not_pending_any_more(tmp_path: Path) -> None:
    """Acknowledging covers everything up to that number, and going back does nothing."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(2)
        outbox.acknowledge(1)
        assert (reasons(outbox), outbox.depth(), outbox.acknowledged_seq()) == (["c"], 1, 2)


def test_everything_survives_reopening(tmp_path: Path) -> None:
    """Pending events, what was acknowledged, and the depth."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(1)
    with open_outbox(tmp_path) as outbox:
        assert (reasons(outbox), outbox.depth(), outbox.acknowledged_seq()) == (["b", "c"], 2, 1)


def test_an_event_survives_the_process_being_killed(tmp_path: Path) -> None:
    """When `append` has returned, the event is on disk."""
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from outbox.test_outbox import open_outbox, an_event\n"
        "open_outbox(Path(sys.argv[1])).append(an_event('kept')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = str(Path(__file__).parents[1])
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), here], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    with open_outbox(tmp_path) as outbox:
        assert reasons(outbox) == ["kept"]


def test_numbers_go_on_rising_when_nothing_is_left(tmp_path: Path) -> None:
    """Even if every row is gone and the program was restarted."""
    for expected in (1, 2, 3):
        with open_outbox(tmp_path, keep_delivered=0) as outbox:
            seq = outbox.append(an_event())
            assert seq == expected
            outbox.acknowledge(seq)
            assert outbox.recent() == []


def test_only_the_latest_sent_events_are_kept(tmp_path: Path) -> None:
    """`keep_delivered` of them, and whatever is not sent."""
    with open_outbox(tmp_path, keep_delivered=2) as outbox:
        for text in "abcdef":
            outbox.append(an_event(text))
        outbox.acknowledge(4)
        assert [event.reason for event in outbox.recent()] == ["f", "e", "d", "c"]


def test_beyond_the_bound_the_oldest_go_and_one_event_says_how_many(tmp_path: Path) -> None:
    """Said once the broker is back, also after a restart in between."""
    with open_outbox(tmp_path, max_events=3) as outbox:
        for text in "abcde":
            outbox.append(an_event(text))
        assert (reasons(outbox), outbox.depth(), outbox.dropped()) == (["c", "d", "e"], 3, 2)
    with open_outbox(tmp_path, max_events=3) as outbox:
        assert outbox.dropped() == 2
        outbox.acknowledge(3)
        outbox.acknowledge(5)
        (event,) = outbox.pending()
        assert (event.kind, event.dropped, event.seq) == (EventKind.EVENTS_DROPPED, 2, 6)
        assert (outbox.depth(), outbox.dropped()) == (1, 0)


def test_an_announcement_that_is_dropped_itself_hands_on_its_number(tmp_path: Path) -> None:
    """Two outages in a row: the second announcement counts the first one's losses too."""
    with open_outbox(tmp_path, max_events=2) as outbox:
        for text in "abcd":
            outbox.append(an_event(text))
        outbox.acknowledge(4)
        assert [event.dropped for event in outbox.pending()] == [2]
        for text in "ef":
            outbox.append(an_event(text))
        assert (reasons(outbox), outbox.dropped()) == (["e", "f"], 2)


def test_sent_events_do_not_count_against_the_bound(tmp_path: Path) -> None:
    """Only those that wait do."""
    with open_outbox(tmp_path, max_events=2, keep_delivered=10) as outbox:
        for text in "abcdef":
            outbox.acknowledge(outbox.append(an_event(text)))
        assert outbox.dropped() == 0


STEPS = st.lists(st.one_of(st.just("append"), st.just("reopen"), st.integers(0, 8)), max_size=30)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_whatever_happens_nothing_is_lost_unannounced(steps: list[str | int]) -> None:
    """Every event of the door was acknowledged, is pending, or is counted in what was dropped."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        outbox = stack.enter_context(open_outbox(Path(name), max_events=4, keep_delivered=2))
        made = acknowledged = told = last_seq = 0
        for step in steps:
            if step == "append":
                seq = outbox.append(an_event())
                assert seq > last_seq
                made, last_seq = made + 1, seq
            elif step == "reopen":
                outbox.close()
                outbox = stack.enter_context(open_outbox(Path(name), max_events=4, keep_delivered=2))
            elif pending := outbox.pending():
                sent = pending[: int(step) + 1]
                acknowledged += sum(event.dropped is None for event in sent)
                told += sum(event.dropped or 0 for event in sent)
                outbox.acknowledge(sent[-1].seq)
            left = outbox.pending()
            assert outbox.depth() == len(left) <= 5
            waiting = sum(event.dropped is None for event in left)
            announced = told + sum(event.dropped or 0 for event in left)
            assert made == acknowledged + waiting + announced + outbox.dropped()


def test_one_thread_appends_while_another_drains(tmp_path: Path) -> None:
    """Nothing is lost, doubled or out of order."""
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


def test_the_listener_hears_of_an_event_when_it_is_there(tmp_path: Path) -> None:
    """Told only after the event can be read back."""
    with open_outbox(tmp_path) as outbox:
        heard: list[list[str]] = []
        outbox.on_append(lambda: heard.append(reasons(outbox)))
        outbox.append(an_event("a"))
        outbox.on_append(None)
        outbox.append(an_event("b"))
        assert heard == [["a"]]


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """A fresh machine has none."""
    with open_outbox(tmp_path / "var" / "lib") as outbox:
        assert outbox.append(an_event()) == 1


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """Here a file is in the way."""
    (tmp_path / "var").write_text("")
    with pytest.raises(OutboxError, match=r"var.*cannot be made"):
        open_outbox(tmp_path / "var" / "lib")


def test_a_folder_in_the_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    """SQLite alone would say "unable to open database file"."""
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(OutboxError, match=r"outbox\.db.*cannot be opened.*no folder"):
        open_outbox(tmp_path)


def damage_header(file: Path) -> None:
    file.write_bytes(b"\0" * 64 + file.read_bytes()[64:])


def damage_middle(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[4096 : len(whole) - 4096] = os.urandom(len(whole) - 8192)
    file.write_bytes(whole)


def damage_one_page_of_sent_events(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[5 * 4096 : 6 * 4096] = os.urandom(4096)
    file.write_bytes(whole)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_database(file: Path) -> None:
    file.write_text("hello " * 1000)


def damage_mark(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[68:72] = b"xxxx"  # the application id
    file.write_bytes(whole)


DAMAGES = [
    damage_header,
    damage_mark,
    damage_middle,
    damage_one_page_of_sent_events,
    truncate,
    no_database,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_moved_aside_and_the_door_goes_on(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Said in an event and once in the log; numbers go on above all that were in use; nothing is thrown away."""
    with open_outbox(tmp_path, keep_delivered=1000) as outbox:
        for number in range(100):
            outbox.append(an_event(str(number) + "x" * 300))
        outbox.acknowledge(95)
    file = tmp_path / "outbox.db"
    damage(file)
    before = file.read_bytes()
    with open_outbox(tmp_path) as outbox:
        (notice,) = outbox.drain_notices()
        assert notice.kind is EventKind.STORE_REPLACED
        assert "outbox.db.damaged" in notice.reason
        waiting = [event.seq for event in outbox.pending()]
        assert waiting == sorted(waiting)
        assert set(waiting) <= set(range(1, 101))
        assert str(len(waiting)) in notice.reason
        seq = outbox.append(an_event("new"))
        assert seq > 100
        assert reasons(outbox)[-1] == "new"
    assert (tmp_path / "outbox.db.damaged").read_bytes() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with open_outbox(tmp_path) as outbox:
        assert outbox.drain_notices() == []
        assert outbox.append(an_event()) == seq + 1


def test_damaged_file_on_a_full_disk_is_replaced_once_there_is_room(tmp_path: Path) -> None:
    """Until then `trouble` says both, the damage and why nothing is done about it."""
    with a_disk(tmp_path / "disk", 4) as disk:
        with open_outbox(disk.folder) as outbox:
            for number in range(50):
                outbox.append(an_event(str(number) + "x" * 300))
        damage_header(disk.folder / "outbox.db")
        disk.fill()
        with open_outbox(disk.folder) as outbox:
            assert "is damaged" in outbox.problem()
            assert "cannot be replaced" in outbox.problem()
            assert "the disk is full" in outbox.problem()
            disk.empty()
            assert outbox.append(an_event("after")) > 50
            assert outbox.problem() == ""


@pytest.mark.parametrize("damage", [damage_one_page_of_sent_events, damage_mark])
def test_waiting_events_are_read_from_around_the_damage(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """They keep their numbers and ids, so that a copy the broker has already is known for one."""
    with open_outbox(tmp_path, keep_delivered=1000) as outbox:
        events = [an_event("x" * 300) for _ in range(100)]
        for event in events:
            outbox.append(event)
        outbox.acknowledge(95)
    damage(tmp_path / "outbox.db")
    with open_outbox(tmp_path) as outbox:
        found = {event.seq: event.id for event in outbox.pending(limit=1000)}
    assert {seq: found.get(seq) for seq in range(96, 101)} == {seq: events[seq - 1].id for seq in range(96, 101)}


def test_damage_that_shows_while_running_loses_nothing_new(tmp_path: Path) -> None:
    """The file is destroyed under the open door; the next events are stored all the same."""
    with open_outbox(tmp_path) as outbox:
        for number in range(50):
            outbox.append(an_event(str(number) + "x" * 300))
        outbox._vault.checkpoint()
        file = tmp_path / "outbox.db"
        with file.open("r+b") as content:
            content.seek(4096)
            content.write(os.urandom(file.stat().st_size - 4096))
        outbox._vault.disconnect()  # or it would go on from its memory
        last = max(outbox.append(an_event("after")) for _ in range(2))
        assert last > 50
        assert reasons(outbox)[-2:] == ["after", "after"]
        assert [notice.kind for notice in outbox.drain_notices()] == [EventKind.STORE_REPLACED]


@pytest.mark.parametrize("stage", ["new file made", "old file moved"])
def test_a_crash_in_the_middle_of_replacing_ends_well(tmp_path: Path, stage: str) -> None:
    """The new file waits beside the place of the old one, or is made again."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("kept"))
    file = tmp_path / "outbox.db"
    damage_mark(file)
    with open_outbox(tmp_path) as outbox:
        kept = outbox.pending()
    os.replace(file, tmp_path / "outbox.db.new")
    if stage == "new file made":
        os.replace(tmp_path / "outbox.db.damaged", file)
    else:
        with open_outbox(tmp_path / "other") as other:
            other.append(an_event("ghost"))
            log = (tmp_path / "other" / "outbox.db-wal").read_bytes()
        (tmp_path / "outbox.db-wal").write_bytes(log)  # of the old file: must not meet the new one
    with open_outbox(tmp_path) as outbox:
        assert outbox.pending() == kept
        assert outbox.append(an_event()) > kept[-1].seq


def test_a_store_that_has_vanished_is_noticed_and_its_numbers_are_not_used_again(tmp_path: Path) -> None:
    """Somebody deleted it; the small file beside it still knows."""
    with open_outbox(tmp_path) as outbox:
        last = [outbox.append(an_event()) for _ in range(20)][-1]
    (tmp_path / "outbox.db").unlink()
    with open_outbox(tmp_path) as outbox:
        assert last < outbox.append(an_event()) <= last + 1100
        assert [notice.kind for notice in outbox.drain_notices()] == [EventKind.STORE_REPLACED]


def test_numbers_rise_over_the_life_of_a_door_as_long_as_its_clock_does(tmp_path: Path) -> None:
    """Everything is lost, the small file too, as with a new card: the clock is the last witness."""
    last = 0
    for number, unix_s in enumerate((1_700_000_000.0, 1_700_000_060.0, 1_900_000_000.0)):
        with open_outbox(tmp_path / str(number), first_seq=seq_from_clock(unix_s) + 1) as outbox:
            first = outbox.append(an_event())
            assert first == seq_from_clock(unix_s) + 1
            assert first > last
            last = max(outbox.append(an_event()) for _ in range(20))
    assert 0 < last < 2**53  # whole numbers of JSON readers
    assert seq_from_clock(0) == 0


def test_the_floor_is_always_ahead(tmp_path: Path) -> None:
    """Whenever the power fails, it holds a number that is not in use yet; and it is seldom written."""
    floor, written = SequenceFloor(tmp_path / "floor"), set()
    for seq in range(5000):
        floor.reserve_beyond(seq)
        written.add((tmp_path / "floor").read_text())
        assert SequenceFloor(tmp_path / "floor").value > seq
    assert len(written) <= 6


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """A wrong path must not fill somebody else's file."""
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(OutboxError, match="not an outbox"):
        open_outbox(tmp_path)


def test_the_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """After a downgrade nobody guesses at the layout."""
    open_outbox(tmp_path).close()
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match="another version of this program"):
        open_outbox(tmp_path)


def test_a_second_door_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """Both would send everything."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from outbox.test_outbox import open_outbox\n"
        "try: open_outbox(Path(sys.argv[1]))\nexcept OSError as error: sys.exit(str(error))"
    )
    with open_outbox(tmp_path):
        here = str(Path(__file__).parents[1])
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), here], capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 1
    assert "already running" in ended.stderr


def test_an_event_that_cannot_be_read_does_not_block_the_others(tmp_path: Path) -> None:
    """It is dropped, counted and announced."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
    db = sqlite3.connect(tmp_path / "outbox.db")
    with db:
        db.execute("UPDATE event SET body = x'00' WHERE seq = 2")
    db.close()
    with open_outbox(tmp_path) as outbox:
        assert (reasons(outbox), outbox.depth(), outbox.dropped()) == (["a", "c"], 2, 1)
    with open_outbox(tmp_path) as outbox:
        assert outbox.dropped() == 1, "the count is on disk"
        outbox.acknowledge(3)
        assert [event.dropped for event in outbox.pending()] == [1]


def test_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    """And the next one works."""
    store = EventDatabase(tmp_path / "outbox.db")
    with contextlib.suppress(ZeroDivisionError), store.transaction("written") as db:
        insert(db, None, b"half", None)
        raise ZeroDivisionError
    with store.transaction("written") as db:
        insert(db, None, b"whole", None)
    with store.transaction("read") as db:
        assert db.execute("SELECT body FROM event").fetchall() == [(b"whole",)]
    store.close()


def test_link_to_nowhere_in_place_of_the_file(tmp_path: Path) -> None:
    """The path is wrong and not the disk, so that the door does not wait for it."""
    (tmp_path / "outbox.db").symlink_to(tmp_path / "missing" / "outbox.db")
    with pytest.raises(OutboxError, match="check that the folder may be written") as caught:
        open_outbox(tmp_path)
    assert not isinstance(caught.value, DiskError)


def test_sweep_that_drops_nothing_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event())
        outbox.maintain()
    assert caplog.records == []


def test_what_waits_for_too_long_is_dropped_counted_and_announced(tmp_path: Path) -> None:
    """The oldest only."""
    now_s = NOW_S
    with open_outbox(tmp_path, max_age_days=2, now_s=lambda: now_s) as outbox:
        for text in "ab":
            outbox.append(an_event(text))
        now_s += 1.5 * DAY_S
        outbox.append(an_event("c"))
        outbox.maintain()
        assert reasons(outbox) == ["a", "b", "c"]
    now_s += DAY_S
    with open_outbox(tmp_path, max_age_days=2, now_s=lambda: now_s) as outbox:
        outbox.maintain()
        assert (reasons(outbox), outbox.depth(), outbox.dropped()) == (["c"], 1, 2)
        outbox.acknowledge(3)
        assert [event.dropped for event in outbox.pending()] == [2]


def test_nothing_ages_before_the_clock_is_set(tmp_path: Path) -> None:
    """A clock of 1970 that jumps to today makes no event old; those made before it go with the next that is old."""
    now_s: float | None = None
    with open_outbox(tmp_path, max_age_days=2, now_s=lambda: now_s) as outbox:
        outbox.append(an_event("before the clock was set"))
        now_s = NOW_S
        outbox.maintain()
        assert outbox.depth() == 1
        outbox.append(an_event("after"))
    for days, left in ((1.0, 2), (3.0, 0)):
        later_s = NOW_S + days * DAY_S
        with open_outbox(tmp_path, max_age_days=2, now_s=partial(float, later_s)) as outbox:
            outbox.maintain()
            assert outbox.depth() == left


@pytest.mark.parametrize("step_s", [-3650 * DAY_S, 3650 * DAY_S])
def test_a_clock_that_was_wrong_for_a_while_does_not_keep_others_from_ageing(tmp_path: Path, step_s: float) -> None:
    """One event was stamped ten years off."""
    now_s = NOW_S
    with open_outbox(tmp_path, max_age_days=2, now_s=lambda: now_s) as outbox:
        now_s = NOW_S + step_s
        outbox.append(an_event("stamped wrong"))
        now_s = NOW_S
        outbox.append(an_event("stamped right"))
    now_s = NOW_S + 3 * DAY_S
    with open_outbox(tmp_path, max_age_days=2, now_s=lambda: now_s) as outbox:
        outbox.maintain()
        assert (outbox.depth(), outbox.dropped()) == (0, 2)


def test_records_are_kept_for_as_long_as_was_said_and_then_are_nowhere(tmp_path: Path) -> None:
    """Not in the database, not in its log, not in what was moved aside: every byte of the folder is looked at."""
    now_s = NOW_S
    with open_outbox(tmp_path, keep_delivered=1000, keep_delivered_days=7, now_s=lambda: now_s) as outbox:
        for number in range(200):
            outbox.append(an_event(f"Ada Lovelace {number}"))
        outbox.acknowledge(200)
        (tmp_path / "outbox.db.damaged").write_bytes(b"Ada Lovelace")
        os.utime(tmp_path / "outbox.db.damaged", (NOW_S, NOW_S))
        now_s += 6.9 * DAY_S
        outbox.maintain()
        assert len(outbox.recent(1000)) == 200
        outbox.append(an_event("somebody else"))
    now_s += 0.2 * DAY_S
    with open_outbox(tmp_path, keep_delivered=1000, keep_delivered_days=7, now_s=lambda: now_s) as outbox:
        assert traces(tmp_path, b"Ada Lovelace") > 200
        outbox.maintain()
        assert [event.reason for event in outbox.recent(1000)] == ["somebody else"]
        assert traces(tmp_path, b"Ada Lovelace") == 0


def traces(folder: Path, what: bytes) -> int:
    return sum(file.read_bytes().count(what) for file in folder.iterdir())


def test_a_store_of_the_first_layout_is_read_on(tmp_path: Path) -> None:
    """An update of the program loses nothing."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("old"))
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.executescript("ALTER TABLE event DROP COLUMN at_s; PRAGMA user_version = 1;")
    db.close()
    with open_outbox(tmp_path) as outbox:
        assert outbox.append(an_event("new")) == 2
        assert reasons(outbox) == ["old", "new"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_in_the_place_of_the_file_is_a_clear_error() -> None:
    """Not a traceback of sqlite3."""
    with pytest.raises(OutboxError, match="/dev/full"):
        Outbox(Path("/dev/full"), OutboxConfig(), announce=announce)


def test_closing_twice_is_fine_and_using_it_afterwards_is_a_clear_error(tmp_path: Path) -> None:
    """Whoever closes last need not know who closed first."""
    outbox = open_outbox(tmp_path)
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="already closed"):
        outbox.append(an_event())
