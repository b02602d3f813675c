"""`edge events --live` on a terminal, and its error without one."""

from __future__ import annotations

import importlib.util
import io

import pytest

pytest.importorskip("rich", reason="needs the desktop extra")

from rich.console import Console
from support.monitor_fleet import a_health, a_status, an_event

from edge.cli.live import LiveView
from edge.cli.main import main
from edge.core.reasons import Reason
from edge.events.schema import DoorConnection, EventKind, Record, encode
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Message


def received(door: str, record: Record) -> Message:
    """Message as a subscriber returns it; the view uses only the record."""
    topics = Topics("works", door)
    return Message(topics.topic_for(Channel.EVENTS), topics, Channel.EVENTS, encode(record), record, "", False)


def drawn(view: LiveView, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as caught:
        console.print(view, height=height)
    return [line.rstrip() for line in caught.get().splitlines()]


def fill(view: LiveView, count: int) -> None:
    for i in range(count):
        view.update(received(f"gate-{i:03}", a_status(f"gate-{i:03}")))
        view.update(received(f"gate-{i:03}", a_health(f"gate-{i:03}", i)))
        view.update(received(f"gate-{i:03}", an_event(f"gate-{i:03}", i)))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10)])
def test_any_number_of_doors_fits_the_terminal(width: int, height: int) -> None:
    view = LiveView()
    fill(view, 100)
    lines = drawn(view, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("100 doors, 100 online")
    assert any(line.startswith("… and ") for line in lines)


def test_doors_with_problems_come_first() -> None:
    view = LiveView()
    fill(view, 30)
    view.update(received("zoo", a_status("zoo", DoorConnection.OFFLINE, Reason.CONNECTION_LOST)))
    lines = drawn(view, 120)
    assert lines[0].endswith("1 with problems")
    assert lines[2].startswith("works/zoo")
    assert "offline: The broker lost" in lines[2]


def test_newest_events_first_with_person_and_reason() -> None:
    view = LiveView()
    view.update(received("lab", an_event("lab", 0, kind=EventKind.DOOR_OPEN, name="Ada Lovelace")))
    view.update(received("lab", an_event("lab", 1, kind=EventKind.UNKNOWN)))
    first, second = drawn(view, 120)[-2:]
    assert "! unknown" in first
    assert "✓ door open Ada Lovelace" in second
    assert "The face matches no enrolled" in first


def test_control_characters_of_doors_are_escaped() -> None:
    view = LiveView()
    view.update(
        received("lab", an_event("lab", 0, kind=EventKind.DENIED, name="\x1b[31m[bold]", detail="\x07\u202e[red]"))
    )
    text = "\n".join(drawn(view, 120))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[bold]" in text
    assert "[red]" in text


def test_live_without_terminal_or_rich_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["edge", "events", "--live"])
    for message in ("leave it out for a file or another program", "needs rich; run  pip install rich"):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
