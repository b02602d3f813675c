"""What leaves the store and when: unsent events beyond the bounds, counted, and sent ones kept for long enough."""

from __future__ import annotations

import msgspec

from edge.events.schema import Event, decode
from edge.events.topics import Channel
from edge.outbox.database import Connection

Row = tuple[int, bytes]
_SCAN_LIMIT = 1000  # so many of the oldest are looked at for their age at once; stamps need not rise, clocks step


def insert(db: Connection, seq: int | None, body: bytes, at_s: int | None) -> int:
    """Store one event under the next number, or under the one it had; gives that number."""
    number = db.execute("INSERT INTO event (seq, body, at_s) VALUES (?, ?, ?)", (seq, body, at_s)).lastrowid
    assert number is not None
    return number


def drop_over_limit(db: Connection, acknowledged: int, excess: int) -> tuple[int, int]:
    """Drop so many of the oldest unsent events.

    Returns:
        How many stored events went, and how many of the door's events that loses: an `events-dropped` event that
        has to go itself hands on the number it carried.
    """
    if excess <= 0:
        return 0, 0
    return _drop(
        db,
        db.execute("SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (acknowledged, excess)).fetchall(),
    )


def drop_expired(db: Connection, acknowledged: int, before_s: int) -> tuple[int, int]:
    """Drop the unsent events that are older, and those before them; returns as `drop_over_limit` does."""
    last = _last_expired_seq(db, acknowledged, None, before_s)
    query = "SELECT seq, body FROM event WHERE seq > ? AND seq <= ? ORDER BY seq"
    return _drop(db, db.execute(query, (acknowledged, last)).fetchall())


def delete_delivered_over_limit(db: Connection, acknowledged: int, keep: int) -> None:
    """Delete the acknowledged events but for the latest `keep`."""
    db.execute(
        "DELETE FROM event WHERE seq <= (SELECT seq FROM event WHERE seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (acknowledged, keep),
    )


def delete_delivered_expired(db: Connection, acknowledged: int, before_s: int) -> int:
    """Delete the acknowledged events that are older, and those before them; returns how many."""
    last = _last_expired_seq(db, 0, acknowledged, before_s)
    return db.execute("DELETE FROM event WHERE seq <= ? AND seq <= ?", (last, acknowledged)).rowcount


def decode_rows(rows: list[Row]) -> tuple[list[Event], list[int]]:
    """Events with their numbers, and the numbers of those that cannot be read."""
    events, unreadable = [], []
    for seq, body in rows:
        try:
            event = decode(Channel.EVENTS, body)
        except ValueError:
            unreadable.append(seq)
            continue
        assert isinstance(event, Event)
        events.append(msgspec.structs.replace(event, seq=seq))
    return events, unreadable


def _drop(db: Connection, rows: list[Row]) -> tuple[int, int]:
    events, unreadable = decode_rows(rows)
    lost = len(unreadable) + sum(event.dropped or 1 for event in events)
    db.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq, _ in rows])
    db.execute("UPDATE door SET dropped = dropped + ?", (lost,))
    return len(rows), lost


def _last_expired_seq(db: Connection, after: int, up_to: int | None, before_s: int) -> int:
    """The last of the oldest events whose stamp is earlier, 0 if there is none.

    One without a stamp was made before the clock was set; it goes with the next one that has a stamp.
    """
    (last,) = db.execute(
        "SELECT MAX(seq) FROM (SELECT seq, at_s FROM event WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?) "
        "WHERE at_s < ?",
        (after, (1 << 62) if up_to is None else up_to, _SCAN_LIMIT, before_s),
    ).fetchone()
    return int(last or 0)
