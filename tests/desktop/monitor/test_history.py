"""The history: its content and limits, and a disk that does not accept writes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from support.monitor_fleet import a_health, an_event
from support.mqtt_brokers import wait_until
from threshold_tools.monitor.fleet import EventRow, event_row
from threshold_tools.monitor.history import MAX_QUEUED, History
from threshold_tools.monitor.history_database import BATCH_ROWS, DAY_MS, Retention
from threshold_tools.monitor.hub import Hub

from edge.core.errors import InputError

NOW_MS = 1_800_000_000_000


def rows_of(count: int) -> list[EventRow]:
    """Events of one door, numbered from 1."""
    row = event_row("s/a", an_event("a", 1), NOW_MS, 0)
    return [msgspec.structs.replace(row, n=n, id=f"id-{n}") for n in range(1, count + 1)]


def test_events_read_after_a_restart(tmp_path: Path) -> None:
    """By door and kind, in pages, newest first."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        name = history.name
        for i in range(8):
            row = hub.on_message("s", "ab"[i % 2], an_event("x", i), NOW_MS + i)
            assert row is not None
            history.add_event(row)
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        assert (history.name, history.last_number()) == (name, 8)
        assert [row.n for row in history.events(3, before_n=7)] == [6, 5, 4]
        assert [row.n for row in history.events(9, door="s/b", kind="unknown")] == [8, 4]
        assert [row.n for row in history.last_of_each_door()] == [7, 8]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("bounds", "left"), [(Retention(30, 3), 3), (Retention(1, 1000), 4)])
def test_history_limited_by_days_and_rows(tmp_path: Path, bounds: Retention, left: int) -> None:
    """Rows beyond the limits are deleted when the file is opened."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        for i in range(8):
            row = hub.on_message("s", "a", an_event("a", i), NOW_MS + i * DAY_MS // 4)
            assert row is not None
            history.add_event(row)
    with History(path, bounds, now_ms=NOW_MS + 2 * DAY_MS) as history:
        assert len(history.events(100)) == left


def test_two_monitors_on_one_history(tmp_path: Path) -> None:
    """The second one is rejected while the first one runs."""
    path = tmp_path / "h.sqlite"
    with History(path, Retention(30, 1000), now_ms=NOW_MS), pytest.raises(InputError) as refused:
        History(path, Retention(30, 1000), now_ms=NOW_MS)
    assert f"another monitor (process {os.getpid()}) uses this history" in str(refused.value)
    with History(path, Retention(30, 1000), now_ms=NOW_MS):
        pass


def test_oldest_waiting_rows_dropped_and_counted(tmp_path: Path) -> None:
    """While the file is locked, the latest rows wait, and the dropped ones are counted."""
    rows = rows_of(2 * MAX_QUEUED + 5)
    with History(tmp_path / "h.sqlite", Retention(30, len(rows)), now_ms=NOW_MS) as history:
        with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for row in rows:
                history.add_event(row)
            other.execute("ROLLBACK")
        wait_until(lambda: history.last_number() == rows[-1].n, "the newest row")
        with closing(sqlite3.connect(history.path)) as db:
            (kept,) = db.execute("SELECT COUNT(*) FROM event").fetchone()
        assert history.dropped >= 5
        assert kept + history.dropped == len(rows)


def test_many_old_rows_deleted_in_batches(tmp_path: Path) -> None:
    """More than one batch is deleted, without a new row that wakes the writer."""
    path, rows = tmp_path / "h.sqlite", rows_of(2 * BATCH_ROWS + 10)
    with History(path, Retention(30, len(rows)), now_ms=NOW_MS) as history:
        for row in rows:
            history.add_event(row)
    with History(path, Retention(30, 7), now_ms=NOW_MS) as history:
        wait_until(lambda: len(history.events(len(rows))) == 7, "the deletion")


def test_separate_limits_of_events_and_health(tmp_path: Path) -> None:
    """Many health samples do not displace events, and many events do not displace health samples."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        for row in rows_of(20):
            history.add_event(row)
        for i in range(20):
            hub.on_message("s", "a", a_health("a", i), NOW_MS + i * 60_000)
            history.add_health("s/a", hub.fleet.recent("s/a")[-1])
    for bounds, events, readings in ((Retention(30, 1000, 5), 20, 5), (Retention(30, 4, 1000), 4, 5)):
        with History(path, bounds, now_ms=NOW_MS) as history:
            assert len(history.events(100)) == events
            assert len(history.health("s/a", from_ms=0, to_ms=2 * NOW_MS, most=10**9)) == readings


def test_index_for_events_of_one_door(tmp_path: Path) -> None:
    """An older file gets it, so that the events of other doors are not read."""
    path = tmp_path / "h.sqlite"
    with History(path, Retention(30, 1000), now_ms=NOW_MS):
        pass
    with closing(sqlite3.connect(path)) as old:
        for index in ("event_door", "event_kind"):
            old.execute(f"DROP INDEX {index}")
    with History(path, Retention(30, 1000), now_ms=NOW_MS), closing(sqlite3.connect(path)) as db:
        plan = db.execute(
            "EXPLAIN QUERY PLAN SELECT body FROM event WHERE n < 9 AND door = 'a' ORDER BY n DESC LIMIT 9"
        ).fetchall()
    assert "event_door (door=? AND n<?)" in str(plan)


def test_health_stored_by_minute_and_read_as_means(history: History) -> None:
    """With about the requested number of points."""
    hub = Hub()
    for i in range(240):
        hub.on_message("s", "a", a_health("a", i), NOW_MS + i * 30_000)
        history.add_health("s/a", hub.fleet.recent("s/a")[-1])
    wait_until(lambda: len(history.health("s/a", from_ms=0, to_ms=2 * NOW_MS, most=10**9)) == 120, "written")
    some = history.health("s/a", from_ms=NOW_MS, to_ms=NOW_MS + 7_200_000, most=12)
    assert 10 <= len(some) <= 14
    assert all(14 <= each.fps <= 16 for each in some)


def test_file_of_another_program_rejected(tmp_path: Path) -> None:
    other, text = tmp_path / "other.sqlite", tmp_path / "text"
    sqlite3.connect(other).execute("CREATE TABLE mine (x)").connection.close()
    text.write_text("no database" * 100)
    for path in (other, text, tmp_path / "no" / "folder.sqlite"):
        with pytest.raises(InputError, match="cannot be used as a history"):
            History(path, Retention(1, 1), now_ms=0)


def test_older_history_gets_the_table_of_notes(tmp_path: Path) -> None:
    path, retention = tmp_path / "h.sqlite", Retention(30, 1000)
    with History(path, retention, now_ms=1):
        pass
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("DROP TABLE audit")
    with History(path, retention, now_ms=1) as history:
        assert history.notes(9) == []
