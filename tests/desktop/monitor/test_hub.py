"""The state of all doors, from messages that may be hostile, and what a page is sent of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from support.monitor_client import monitor_client
from support.monitor_fleet import a_health, a_release, a_status, an_event
from support.mqtt_brokers import wait_until
from threshold_tools.monitor.fleet import MAX_DOORS, MAX_TEXT, clean_text
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import Hub

from edge.events.schema import EventKind

NOW_MS = 1_800_000_000_000
HOSTILE = '"><script>alert(1)</script>\u202e\x00'


def test_hostile_text_of_a_door_shown_as_text(history: History) -> None:
    """In its name, a person's name and a reason."""
    hub = Hub()
    hub.on_message("s", HOSTILE, an_event("x", 0, name=HOSTILE, detail=HOSTILE), NOW_MS)
    (row,) = hub.latest(10)
    assert "\u202e" not in row.reason + row.who + row.door
    assert "\x00" not in row.reason + row.who + row.door
    client = monitor_client(history, hub=hub)
    shown = hub.fleet.doors()[0].door.partition("/")[2]
    page = client.get("/doors/s/" + "".join(f"%{byte:02x}" for byte in shown.encode()))
    assert page.status_code == 404 or "<script>alert" not in page.text


def first_batch(hub: Hub) -> dict[str, Any]:
    """The first batch of a page."""

    async def read() -> bytes:
        async for message in hub.stream(""):
            return message
        return b""

    found: dict[str, Any] = json.loads(asyncio.run(read()).partition(b"data: ")[2])
    return found


def test_long_texts_cut_and_doors_limited() -> None:
    """A client of the broker cannot fill the memory of the monitor."""
    assert len(clean_text("x" * 10**6)) == MAX_TEXT
    hub = Hub()
    for i in range(MAX_DOORS + 5):
        hub.on_message("s", f"d{i}", a_status("d"), NOW_MS)
    hub.on_message("s", "n" * 500, a_status("d"), NOW_MS)
    assert (len(hub.fleet.doors()), hub.fleet.unlisted) == (MAX_DOORS, 5)


def test_events_of_doors_that_are_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    """They are stored and shown like all others. The page and one log line show the number of these doors."""
    hub = Hub()
    for i in range(MAX_DOORS):
        hub.on_message("s", f"d{i}", a_status("d"), NOW_MS)
    for door in ("x", "y", "y"):
        row = hub.on_message("s", door, an_event(door, 1), NOW_MS)
        assert row is not None
        assert row.door == f"s/{door}"
    assert [each.door for each in hub.latest(3)] == ["s/x", "s/y", "s/y"]
    assert (first_batch(hub)["unlisted"], len(first_batch(hub)["doors"])) == (2, MAX_DOORS)
    assert len([line for line in caplog.messages if "more than 2000 doors" in line]) == 1


def test_invalid_values_of_a_door_replaced() -> None:
    """Invalid times, infinite numbers, surrogates and long texts: the page receives plain values."""
    hub = Hub()
    release = msgspec.structs.replace(a_release("a", 2**70, detail="x" * 9999), applied_at="2026-99-99T99:99:99.999Z")
    hub.on_message("s", "a", release, NOW_MS)
    hub.on_message("s", "a", msgspec.structs.replace(a_health("a", 1), fps=float("inf"), uptime_s=1e300), NOW_MS)
    event = msgspec.structs.replace(
        an_event("a", 1, detail="\ud800<b>"), at="9999-99-99T99:99:99.999Z", distance_sq=1e99
    )
    hub.on_message("s", "a", event, NOW_MS)
    hub.on_message("s", "b", a_status("b"), NOW_MS)
    batch = first_batch(hub)
    first, other = batch["doors"]
    assert (first["release"]["applied_ms"], first["release"]["release"], len(first["release"]["reason"])) == (
        None,
        2**53,
        MAX_TEXT,
    )
    assert (first["health"]["fps"], first["uptime_s"]) == (0, 0)
    assert (batch["events"][0]["at_ms"], batch["events"][0]["distance_sq"]) == (NOW_MS, 0)
    assert batch["events"][0]["reason"].endswith(": \ufffd<b>")
    assert other["door"] == "s/b"
    assert "99T99" not in json.dumps(batch)


def test_latest_messages_of_a_door_in_one_row() -> None:
    """Status, health, release and last event."""
    hub = Hub()
    for record in (a_status("a"), a_health("a", 3, problems=["hot"]), a_release("a", 7), an_event("a", 1)):
        hub.on_message("s", "a", record, NOW_MS)
    (row,) = hub.fleet.doors()
    assert (row.door, row.status, row.problems, row.camera) == ("s/a", "online", ("hot",), "lost")
    assert row.release is not None
    assert row.last is not None
    assert (row.release.release, row.last.kind, row.health is not None) == (7, "door-open", True)


def test_fresh_batch_after_a_removal() -> None:
    """An open page discards its list and receives all remaining doors."""
    hub = Hub()
    for door in ("a", "b"):
        hub.on_message("s", door, a_status(door), NOW_MS)

    async def read() -> list[bytes]:
        batches = []
        async for message in hub.stream(""):
            batches.append(message)
            if len(batches) == 2:
                break
            hub.forget("s/a")
        return batches

    _, second = (json.loads(message.partition(b"data: ")[2]) for message in asyncio.run(read()))
    assert (second["fresh"], [door["door"] for door in second["doors"]]) == (True, ["s/b"])


def test_duplicate_event_shown_and_stored_once(history: History) -> None:
    """Also after a restart, because delivery is at least once."""
    event, hub = an_event("a", 1), Hub()
    row = hub.on_message("s", "a", event, NOW_MS)
    assert row is not None
    assert hub.on_message("s", "a", event, NOW_MS + 5) is None
    history.add_event(row)
    wait_until(lambda: len(history.events(10)) == 1, "the row")
    again = Hub(history.last_number(), history.events(10))
    assert again.on_message("s", "a", event, NOW_MS + 9) is None
    assert [each.id for each in again.latest(10)] == [event.id]


def test_only_faces_of_unknown_visitors_accepted() -> None:
    """Not those without an event, of another door, or of a recognised person."""
    hub = Hub()
    stranger, known = an_event("front", 3, kind=EventKind.UNKNOWN), an_event("front", 0, kind=EventKind.DOOR_OPEN)
    for event in (stranger, known):
        hub.on_message("works", "front", event, 1)
    assert hub.is_unknown("works/front", stranger.id)
    assert not hub.is_unknown("works/back", stranger.id)
    assert not hub.is_unknown("works/front", known.id)
    assert not hub.is_unknown("works/front", an_event("front", 1).id)
