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
from pathlib import Path

import pytest
from brokers import an_event, announce
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import OutboxConfig
from edge.errors import OutboxError
from edge.messaging.events import EventKind
from edge.messaging.outbox import Outbox


def open_outbox(folder: Path, max_events: int = 1000, keep_sent: int = 10) -> Outbox:
    return Outbox(folder / "outbox.db", OutboxConfig(max_events=max_events, keep_sent=keep_sent), announce=announce)


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
        assert (reasons(outbox), outbox.depth(), outbox.acknowledged()) == (["c"], 1, 2)


def test_everything_survives_reopening(tmp_path: Path) -> None:
    """Pending events, what was acknowledged, and the depth."""
    with open_outbox(tmp_path) as outbox:
        for text in "abc":
            outbox.append(an_event(text))
        outbox.acknowledge(1)
    with open_outbox(tmp_path) as outbox:
        assert (reasons(outbox), outbox.depth(), outbox.acknowledged()) == (["b", "c"], 2, 1)


def test_an_event_survives_the_process_being_killed(tmp_path: Path) -> None:
    """When `append` has returned, the event is on disk."""
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_outbox import open_outbox, an_event\n"
        "open_outbox(Path(sys.argv[1])).append(an_event('kept')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = str(Path(__file__).parent)
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), here], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    with open_outbox(tmp_path) as outbox:
        assert reasons(outbox) == ["kept"]


def test_numbers_go_on_rising_when_nothing_is_left(tmp_path: Path) -> None:
    """Even if every row is gone and the program was restarted."""
    for expected in (1, 2, 3):
        with open_outbox(tmp_path, keep_sent=0) as outbox:
            seq = outbox.append(an_event())
            assert seq == expected
            outbox.acknowledge(seq)
            assert outbox.recent() == []


def test_only_the_latest_sent_events_are_kept(tmp_path: Path) -> None:
    """`keep_sent` of them, and whatever is not sent."""
    with open_outbox(tmp_path, keep_sent=2) as outbox:
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
    with open_outbox(tmp_path, max_events=2, keep_sent=10) as outbox:
        for text in "abcdef":
            outbox.acknowledge(outbox.append(an_event(text)))
        assert outbox.dropped() == 0


STEPS = st.lists(st.one_of(st.just("append"), st.just("reopen"), st.integers(0, 8)), max_size=30)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_whatever_happens_nothing_is_lost_unannounced(steps: list[str | int]) -> None:
    """Every event of the door was acknowledged, is pending, or is counted in what was dropped."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        outbox = stack.enter_context(open_outbox(Path(name), max_events=4, keep_sent=2))
        made = acknowledged = told = last_seq = 0
        for step in steps:
            if step == "append":
                seq = outbox.append(an_event())
                assert seq > last_seq
                made, last_seq = made + 1, seq
            elif step == "reopen":
                outbox.close()
                outbox = stack.enter_context(open_outbox(Path(name), max_events=4, keep_sent=2))
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
        outbox.listen(lambda: heard.append(reasons(outbox)))
        outbox.append(an_event("a"))
        outbox.listen(None)
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


@pytest.mark.parametrize(
    "damage", [damage_header, damage_middle, damage_one_page_of_sent_events, truncate, no_database]
)
def test_a_damaged_file_is_a_clear_error_that_says_what_to_do(tmp_path: Path, damage: object) -> None:
    """One line, with the path, and nothing is overwritten."""
    with open_outbox(tmp_path, keep_sent=1000) as outbox:
        for _ in range(100):
            outbox.append(an_event("x" * 300))
        outbox.acknowledge(95)
    file = tmp_path / "outbox.db"
    damage(file)  # type: ignore[operator]
    before = file.read_bytes()
    with pytest.raises(OutboxError, match=r"outbox\.db: the event store is damaged .*move the file aside") as caught:
        open_outbox(tmp_path)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before


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
        "from pathlib import Path; from test_outbox import open_outbox\n"
        "try: open_outbox(Path(sys.argv[1]))\nexcept OSError as error: sys.exit(str(error))"
    )
    with open_outbox(tmp_path):
        here = str(Path(__file__).parent)
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
        outbox.acknowledge(3)
        assert [event.dropped for event in outbox.pending()] == [1]


def fill_up(outbox: Outbox) -> None:
    for _ in range(100):
        outbox.append(an_event("x" * 500))


def test_a_full_disk_is_a_clear_error_and_what_is_stored_stays(tmp_path: Path) -> None:
    """The bound on the file's size stands in for the disk's end; SQLite reports both alike."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("kept"))
        assert outbox._db is not None
        outbox._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutboxError, match="disk is full: make room"):
            fill_up(outbox)
        depth = outbox.depth()
        assert depth == len(outbox.pending(limit=1000))
        assert reasons(outbox)[0] == "kept"


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
