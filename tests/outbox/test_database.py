"""SQLite file of the outbox: transactions, durability and errors."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.mqtt_brokers import an_event, announce
from support.outboxes import (
    details,
    open_outbox,
)

from edge.core.config import OutboxConfig
from edge.core.errors import OutboxError
from edge.core.reasons import Reason
from edge.outbox.database import DiskError, EventDatabase, insert
from edge.outbox.outbox import Outbox


def test_missing_folder_is_created(tmp_path: Path) -> None:
    with open_outbox(tmp_path / "var" / "lib") as outbox:
        assert outbox.append(an_event()) == 1


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """A file has its name."""
    (tmp_path / "var").write_text("")
    with pytest.raises(OutboxError, match=r"var.*cannot create the folder"):
        open_outbox(tmp_path / "var" / "lib")


def test_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    """SQLite alone reports "unable to open database file"."""
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(OutboxError, match=r"outbox\.db.*cannot be opened.*folder or device"):
        open_outbox(tmp_path)


def test_database_of_another_program_is_rejected(tmp_path: Path) -> None:
    """A wrong path must not change another program's file."""
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(OutboxError, match="not an outbox"):
        open_outbox(tmp_path)


def test_file_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    """As after a downgrade."""
    open_outbox(tmp_path).close()
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match="another version of this program"):
        open_outbox(tmp_path)


def test_second_door_on_the_same_file_is_rejected(tmp_path: Path) -> None:
    """Both would send every event."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from support.outboxes import open_outbox\n"
        "try: open_outbox(Path(sys.argv[1]))\nexcept OSError as error: sys.exit(str(error))"
    )
    with open_outbox(tmp_path):
        here = str(Path(__file__).parents[1])
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), here], capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 1
    assert "already running" in ended.stderr


def test_settings_of_the_connection(tmp_path: Path) -> None:
    """A commit is synced, one process holds the file, and deletes overwrite."""
    with contextlib.closing(EventDatabase(tmp_path / "outbox.db")) as database, database.transaction("read") as db:
        found = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode", "locking_mode", "secure_delete", "wal_autocheckpoint")
        }
    assert found == {
        "synchronous": 2,
        "journal_mode": "wal",
        "locking_mode": "exclusive",
        "secure_delete": 1,
        "wal_autocheckpoint": 64,
    }


def test_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    """The next one works."""
    store = EventDatabase(tmp_path / "outbox.db")
    with contextlib.suppress(ZeroDivisionError), store.transaction("written") as db:
        insert(db, b"half", None)
        raise ZeroDivisionError
    with store.transaction("written") as db:
        insert(db, b"whole", None)
    with store.transaction("read") as db:
        assert db.execute("SELECT body FROM event").fetchall() == [(b"whole",)]
    store.close()


def test_link_to_nowhere_in_place_of_the_file(tmp_path: Path) -> None:
    """The path is wrong, not the disk, so the door does not wait."""
    (tmp_path / "outbox.db").symlink_to(tmp_path / "missing" / "outbox.db")
    with pytest.raises(OutboxError, match="check that the folder is writable") as caught:
        open_outbox(tmp_path)
    assert not isinstance(caught.value, DiskError)


def test_store_of_the_first_layout_is_migrated(tmp_path: Path) -> None:
    """An update keeps all events."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("old"))
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.executescript("ALTER TABLE event DROP COLUMN at_s; PRAGMA user_version = 1;")
    db.close()
    with open_outbox(tmp_path) as outbox:
        assert outbox.append(an_event("new")) == 2
        assert details(outbox) == ["old", "new"]


def test_event_stored_with_a_free_text_reason_is_still_sent(tmp_path: Path) -> None:
    """An earlier version stored the reason of a system event as text; the text becomes the detail."""
    with open_outbox(tmp_path) as outbox:
        outbox.append(an_event("camera /dev/video0"))
    db = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    (body,) = db.execute("SELECT body FROM event").fetchone()
    fields = msgspec.json.decode(body)
    fields["reason"] = fields.pop("detail")
    db.execute("UPDATE event SET body = ?", (msgspec.json.encode(fields),))
    db.close()
    with open_outbox(tmp_path) as outbox:
        (event,) = outbox.pending()
        assert (event.reason, event.detail, outbox.dropped()) == (Reason.OTHER, "camera /dev/video0", 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_device_in_the_place_of_the_file() -> None:
    """Not a traceback of sqlite3."""
    with pytest.raises(OutboxError, match="/dev/full"):
        Outbox(Path("/dev/full"), OutboxConfig(), announce=announce)
