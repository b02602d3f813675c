"""Automations of docs/guides/home-assistant.md, run in Home Assistant. `make test-home-assistant`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("homeassistant", reason="needs its own environment: make test-home-assistant")

from homeassistant.util.yaml import parse_yaml
from support.example_house import ANNA, FRONT, TOPICS, a_status, an_event_of, an_occupancy
from support.home_assistant_core import Door, Home, play, play_online
from support.mqtt_brokers import Mosquitto, needs_mosquitto

from edge.core.reasons import Reason
from edge.events.reasons import reason_sentence
from edge.events.schema import DoorConnection, EventKind
from edge.events.topics import Channel

pytestmark = needs_mosquitto
GUIDE = Path(__file__).parents[2] / "docs/guides/home-assistant.md"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


def guide(automation_id: str) -> dict[str, Any]:
    """Configuration of the automation with this id, as in the guide's YAML block."""
    blocks = [parse_yaml(text) for text in re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(), re.M | re.S)]
    (found,) = [block for block in blocks if block["automation"][0]["id"] == automation_id]
    assert isinstance(found, dict)
    return found


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def an_opening(**changes: object) -> dict[str, Any]:
    """Open command as published on `…/open`; fresh by default."""
    event = an_event_of(EventKind.DOOR_OPEN, ANNA)
    message = {
        "v": 1,
        "id": event.id,
        "seq": 7,
        "door": "front",
        "person": {"id": "anna", "name": "Anna"},
        "at": ago(0),
        "expires_at": ago(-3),
    }
    return message | changes


def test_lock_automation_with_fresh_late_and_repeated_commands(broker: Mosquitto, tmp_path: Path) -> None:
    """The lock opens once for each fresh open command of its door; all other messages are ignored."""

    async def scene(home: Home, door: Door) -> None:
        home.offer("lock", "unlock")
        assert await home.set_up(guide("open_the_front_door"))
        await home.listens()
        first, second = an_opening(), an_opening()
        text = "input_text.front_openings"
        for message in (first, first, first):
            door.say(Channel.OPEN, message)
        await home.until(lambda: first["id"] in home.state(text), "the first open command")
        for message in (
            an_opening(expires_at=ago(1)),
            an_opening(expires_at=ago(-60)),
            an_opening(v=2),
            an_opening(door="back"),
            an_opening(id=""),
            second,
            first,
            second,
        ):
            door.say(Channel.OPEN, message)
        await home.until(lambda: second["id"] in home.state(text), "the second open command")
        last = an_opening()
        door.say(Channel.OPEN, last)
        await home.until(lambda: last["id"] in home.state(text), "the last open command")
        await home.until(lambda: len(home.calls) >= 3, "three unlock calls")
        assert [call.data["entity_id"] for call in home.calls] == [["lock.front_door"]] * 3
        assert home.state(text).split() == [last["id"], second["id"], first["id"], "unknown"]

    play(tmp_path, broker, scene)


@pytest.mark.parametrize("payload", [b"", b"open", b"[]", b"{}", b'{"v": 1, "door": "front"}', b"\xff"])
def test_lock_automation_with_malformed_payload(broker: Mosquitto, tmp_path: Path, payload: bytes) -> None:
    """The lock stays shut, and a valid open command afterwards still opens it."""

    async def scene(home: Home, door: Door) -> None:
        home.offer("lock", "unlock")
        assert await home.set_up(guide("open_the_front_door"))
        await home.listens()
        door.send(TOPICS.topic_for(Channel.OPEN), payload)
        door.say(Channel.OPEN, an_opening())
        await home.until(lambda: len(home.calls) > 0, "the valid open command")
        assert len(home.calls) == 1
        home.complaints.lines.clear()  # warnings about the malformed payload are expected

    play(tmp_path, broker, scene)


def test_stranger_automation_notifies_about_recent_unknown_visitors(broker: Mosquitto, tmp_path: Path) -> None:
    """Two simultaneous visitors give two notices; old events, other kinds and a reconnecting door give none."""

    async def scene(home: Home, door: Door) -> None:
        reasons = (Reason.BEYOND_THRESHOLD, Reason.TOO_FEW_AGREE)
        home.offer("notify", "notify")
        assert await home.set_up(guide("stranger_at_the_front_door"))
        door.introduce(FRONT)
        await home.sees_the_door()
        for event in (
            an_event_of(EventKind.UNKNOWN),
            msgspec.structs.replace(an_event_of(EventKind.DENIED, ANNA), at=ago(0)),
            *(msgspec.structs.replace(an_event_of(EventKind.UNKNOWN), at=ago(0), reason=reason) for reason in reasons),
        ):
            door.say(Channel.EVENTS, event)
        await home.until(lambda: len(home.calls) >= 2, "both notices")
        for status in (DoorConnection.OFFLINE, DoorConnection.ONLINE):
            door.say(Channel.STATUS, a_status(status))
        door.say(Channel.PRESENCE, an_occupancy(True))
        await home.until(lambda: home.state("binary_sensor.home_front_presence") == "on", "the door is online again")
        assert [call.data["message"] for call in home.calls] == [
            f"Unknown visitor at the front door. {reason_sentence(reason)}" for reason in reasons
        ]

    play_online(tmp_path, broker, scene)
