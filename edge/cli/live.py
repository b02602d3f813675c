"""`edge events --live`: table of doors and list of events on the whole terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.cli.message_lines import EVENT_STYLES, event_label, local_time
from edge.core.cli_support import counted, escape_untrusted
from edge.core.terminal import Style
from edge.events.reasons import reason_meaning
from edge.events.schema import CameraState, DoorConnection, Event, EventKind, Health, Status
from edge.mqtt.subscriber import Message, Subscriber

_EVENTS = 200  # events kept; a terminal has fewer lines
_DOORS = 2000  # most doors shown; limits memory, because any client can publish
_REDRAWS_PER_S = 4
_RICH_STYLES = {Style.GOOD: "green", Style.ERROR: "bold red", Style.WARNING: "yellow", Style.PLAIN: ""}
_SYMBOLS = {Style.GOOD: "✓", Style.ERROR: "✗", Style.WARNING: "!", Style.PLAIN: " "}


@dataclass(slots=True)
class _LiveDoor:
    """The latest messages of one door."""

    status: Status | None = None
    health: Health | None = None
    last: Event | None = None

    @property
    def problems(self) -> Sequence[str]:
        """Problems of this door, most severe first."""
        found = []
        if self.status is not None and self.status.status is DoorConnection.OFFLINE:
            found.append(f"offline: {reason_meaning(self.status.reason)}")
        if self.health is not None:
            found += self.health.problems
            if not found and self.health.camera not in (CameraState.WORKING, CameraState.STARTING):
                found.append(f"camera {self.health.camera}")
        return found


class LiveView:
    """View that rich draws to the size of the terminal: doors with problems first, then by latest event."""

    def __init__(self) -> None:
        self._doors: dict[str, _LiveDoor] = {}
        self._events: deque[tuple[str, Event]] = deque(maxlen=_EVENTS)

    def update(self, message: Message) -> None:
        """Record a message of a door."""
        name = escape_untrusted(f"{message.door.site}/{message.door.door}")
        if name not in self._doors and len(self._doors) >= _DOORS:
            return
        door = self._doors.setdefault(name, _LiveDoor())
        match message.record:
            case Event() as event:
                door.last = event
                self._events.appendleft((name, event))
            case Status() as status:
                door.status = status
            case Health() as health:
                door.health = health

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        shown = _sort_doors(self._doors)[: max(height // 2 - 3, 1)]
        online = sum(
            door.status is not None and door.status.status is DoorConnection.ONLINE for door in self._doors.values()
        )
        troubled = sum(bool(door.problems) for door in self._doors.values())
        head = Text(f"{counted(len(self._doors), 'door')}, {online} online, {troubled} with problems", "bold")
        left = len(self._doors) - len(shown)
        more = [Text(f"… and {left} more", "dim")] if left else []
        room = max(height - len(shown) - len(more) - 4, 1)
        yield Group(head, self._table(shown), *more, Text(""), self._event_rows(room))

    def _table(self, shown: Sequence[tuple[str, _LiveDoor]]) -> Table:
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("door", no_wrap=True, ratio=3)
        table.add_column("state", no_wrap=True, ratio=4)
        table.add_column("fps", justify="right", no_wrap=True, width=5)
        table.add_column("last event", no_wrap=True, ratio=4)
        for name, door in shown:
            fps = f"{door.health.fps:.1f}" if door.health else ""
            table.add_row(Text(name), _state(door), Text(fps), _event_text(door.last) if door.last else Text(""))
        return table

    def _event_rows(self, room: int) -> RenderableType:
        if not self._events:
            return Text("No events yet. Press Ctrl-C to quit.", "dim")
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(width=8, no_wrap=True, style="dim")
        for ratio, style in ((2, ""), (4, ""), (4, "dim")):
            table.add_column(ratio=ratio, no_wrap=True, style=style)
        for name, event in islice(self._events, room):
            moment = local_time(event.at)
            why = "" if event.kind is EventKind.DOOR_OPEN else event.detail or reason_meaning(event.reason)
            table.add_row(
                f"{moment:%H:%M:%S}" if moment else "", Text(name), _event_text(event), Text(escape_untrusted(why))
            )
        return table


def run_live_view(subscriber: Subscriber) -> None:
    """Draw until the subscriber stops.

    Raises:
        BrokerError: the connection is lost.
    """
    view = LiveView()
    with Live(view, screen=True, refresh_per_second=_REDRAWS_PER_S, redirect_stdout=False, redirect_stderr=False):
        for message in subscriber.messages():
            view.update(message)


def _sort_doors(doors: Mapping[str, _LiveDoor]) -> list[tuple[str, _LiveDoor]]:
    """Sort doors: with problems first, then by latest event, then by name."""
    named = sorted(doors.items(), key=lambda each: each[0])
    named.sort(key=lambda each: each[1].last.at if each[1].last else "", reverse=True)
    return sorted(named, key=lambda each: not each[1].problems)


def _state(door: _LiveDoor) -> Text:
    if door.problems:
        return Text(f"{_SYMBOLS[Style.ERROR]} {escape_untrusted(door.problems[0])}", _RICH_STYLES[Style.ERROR])
    if door.status is None:
        return Text("  no status yet", "dim")
    return Text(f"{_SYMBOLS[Style.GOOD]} online", _RICH_STYLES[Style.GOOD])


def _event_text(event: Event) -> Text:
    style = EVENT_STYLES.get(event.kind, Style.PLAIN)
    who = f" {escape_untrusted(event.person.name)}" if event.person else ""
    return Text.assemble((f"{_SYMBOLS[style]} {event_label(event.kind)}", _RICH_STYLES[style]), who)
