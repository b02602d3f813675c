"""Recovery of the event store from damage and failing disks, with numbers that only rise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.door_process import a_disk
from support.mqtt_brokers import an_event
from support.outboxes import (
    DAMAGES,
    damage_application_id,
    damage_header,
    damage_one_page_of_sent_events,
    details,
    no_writing,
    open_outbox,
)

from edge.core.errors import OutboxError
from edge.events.schema import EventKind
from edge.outbox.database import seq_from_clock
from edge.outbox.recovery import SequenceFloor


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_replaced(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """One event and one log line report it, numbers continue above all earlier ones, and the old file is kept."""
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
        assert "outbox.db.damaged" in notice.detail
        waiting = [event.seq for event in outbox.pending()]
        assert waiting == sorted(waiting)
        assert set(waiting) <= set(range(1, 101))
        assert str(len(waiting)) in notice.detail
        seq = outbox.append(an_event("new"))
        assert seq > 100
        assert details(outbox)[-1] == "new"
    assert (tmp_path / "outbox.db.damaged").read_bytes() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with open_outbox(tmp_path) as outbox:
        assert outbox.drain_notices() == []
        assert outbox.append(an_event()) == seq + 1


def test_damaged_file_on_a_full_disk_is_replaced_later(tmp_path: Path) -> None:
    """Until then `problem` names the damage and the full disk."""
    with a_disk(tmp_path / "disk", 4) as disk:
        with open_outbox(disk.folder) as outbox:
            for number in range(50):
                outbox.append(an_event(str(number) + "x" * 300))
        damage_header(disk.folder / "outbox.db")
        disk.fill()
        with open_outbox(disk.folder) as outbox:
            assert "is damaged" in outbox.problem()
            assert "a new one cannot be created" in outbox.problem()
            assert "the disk is full" in outbox.problem()
            disk.empty()
            assert outbox.append(an_event("after")) > 50
            assert outbox.problem() == ""


@pytest.mark.parametrize("damage", [damage_one_page_of_sent_events, damage_application_id])
def test_waiting_events_are_salvaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """They keep their numbers and ids, so that consumers detect copies."""
    with open_outbox(tmp_path, keep_delivered=1000) as outbox:
        events = [an_event("x" * 300) for _ in range(100)]
        for event in events:
            outbox.append(event)
        outbox.acknowledge(95)
    damage(tmp_path / "outbox.db")
    with open_outbox(tmp_path) as outbox:
        found = {event.seq: event.id for event in outbox.pending(limit=1000)}
    assert {seq: found.get(seq) for seq in range(96, 101)} == {seq: events[seq - 1].id for seq in range(96, 101)}


def test_damage_while_running(tmp_path: Path) -> None:
    """The disk fails, and the file is destroyed while it is open; later events are stored."""
    with open_outbox(tmp_path) as outbox:
        for number in range(50):
            outbox.append(an_event(str(number) + "x" * 300))
        with no_writing(), pytest.raises(OutboxError):
            outbox.append(an_event("held"))
        file = tmp_path / "outbox.db"
        file.write_bytes(file.read_bytes()[:4096] + os.urandom(65536))
        (tmp_path / "outbox.db-wal").unlink(missing_ok=True)
        assert outbox.append(an_event("after")) > 50
        assert details(outbox)[-2:] == ["held", "after"]
        kinds = [notice.kind for notice in outbox.drain_notices()]
        assert kinds == [EventKind.STORE_FAILING, EventKind.STORE_REPLACED, EventKind.STORE_BACK]
        assert outbox.drain_notices() == []


@pytest.mark.parametrize("stage", ["new file made", "old file moved"])
def test_crash_while_replacing(tmp_path: Path, stage: str) -> None:
    """The new file waits next to the old path, or is made again."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("kept"))
    file = tmp_path / "outbox.db"
    damage_application_id(file)
    with open_outbox(tmp_path) as outbox:
        kept = outbox.pending()
    os.replace(file, tmp_path / "outbox.db.new")
    if stage == "new file made":
        os.replace(tmp_path / "outbox.db.damaged", file)
    else:
        with open_outbox(tmp_path / "other") as other:
            other.append(an_event("ghost"))
            log = (tmp_path / "other" / "outbox.db-wal").read_bytes()
        (tmp_path / "outbox.db-wal").write_bytes(log)  # log of the old file, which must not be applied to the new one
    with open_outbox(tmp_path) as outbox:
        assert outbox.pending() == kept
        assert outbox.append(an_event()) > kept[-1].seq


def test_deleted_store_is_reported(tmp_path: Path) -> None:
    """Its numbers are not used again, because the floor file still exists."""
    with open_outbox(tmp_path) as outbox:
        last = [outbox.append(an_event()) for _ in range(20)][-1]
    (tmp_path / "outbox.db").unlink()
    with open_outbox(tmp_path) as outbox:
        assert last < outbox.append(an_event()) <= last + 1100
        assert [notice.kind for notice in outbox.drain_notices()] == [EventKind.STORE_REPLACED]


def test_numbers_rise_with_the_clock(tmp_path: Path) -> None:
    """All files are lost, as with a new card; the number derived from the clock is higher."""
    last = 0
    for number, unix_s in enumerate((1_700_000_000.0, 1_700_000_060.0, 1_900_000_000.0)):
        with open_outbox(tmp_path / str(number), first_seq=seq_from_clock(unix_s) + 1) as outbox:
            first = outbox.append(an_event())
            assert first == seq_from_clock(unix_s) + 1
            assert first > last
            last = max(outbox.append(an_event()) for _ in range(20))
    assert 0 < last < 2**53  # whole numbers of JSON readers
    assert seq_from_clock(0) == 0


def test_floor_is_above_all_numbers(tmp_path: Path) -> None:
    """At any power cut it holds an unused number, and it is written rarely."""
    floor, written = SequenceFloor(tmp_path / "floor"), set()
    for seq in range(5000):
        floor.reserve_beyond(seq)
        written.add((tmp_path / "floor").read_text())
        assert SequenceFloor(tmp_path / "floor").value > seq
    assert len(written) <= 6
