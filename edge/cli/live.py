"""`edge events --live`: the doors and what happens at them, on a whole terminal; `LiveView` is pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.core.cli_support import escape_untrusted
from edge.events.reasons import REASON_TEXTS
from edge.events.schema import CameraState, DoorConnection, Event, EventKind, Health, Status
from edge.mqtt.subscriber import Message, Subscriber

_EVENTS = 200  # remembered; a terminal has fewer lines
_DOORS = 2000  # anybody may write to a broker
_A_SECOND = 4  # redraws
_GOOD, _BAD, _WARN, _PLAIN = "green", "bold red", "yellow", ""
_STYLES = {
    EventKind.DOOR_OPEN: _GOOD,
    EventKind.DENIED: _BAD,
    EventKind.UNKNOWN: _WARN,
    EventKind.CAMERA_LOST: _BAD,
    EventKind.CAMERA_BLIND: _BAD,
    EventKind.STORE_FAILING: _BAD,
    EventKind.EVENTS_DROPPED: _BAD,
    EventKind.RELEASE_REFUSED: _BAD,
    EventKind.OPEN_EXPIRED: _WARN,
    EventKind.OPEN_UNHEARD: _WARN,
}
_SYMBOLS = {_GOOD: "●", _BAD: "✖", _WARN: "▲", _PLAIN: " "}


@dataclass(slots=True)
class _LiveDoor:
    """What is known of one door."""

    status: Status | None = None
    health: Health | None = None
    last: Event | None = None

    @property
    def problems(self) -> Sequence[str]:
        """Problems of this door, the worst first."""
        found = []
        if self.status is not None and self.status.status is DoorConnection.OFFLINE:
            found.append(f"offline: {REASON_TEXTS[self.status.reason].meaning}")
        if self.health is not None:
            found += self.health.problems
            if not found and self.health.camera not in (CameraState.WORKING, CameraState.STARTING):
                found.append(f"camera {self.health.camera}")
        return found


class LiveView:
    """Takes messages and is drawn by rich, to the size of the terminal: doors with problems first, then the busiest."""

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
        head = Text(f"{len(self._doors)} doors, {online} online, {troubled} in trouble", "bold")
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
            return Text("Nothing has happened yet. Ctrl-C ends this.", "dim")
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(width=8, no_wrap=True, style="dim")
        for ratio, style in ((3, ""), (4, ""), (3, "dim")):
            table.add_column(ratio=ratio, no_wrap=True, style=style)
        for name, event in islice(self._events, room):
            table.add_row(
                event.at[11:19], Text(name), _event_text(event), Text(escape_untrusted(event.detail or event.reason))
            )
        return table


def run_live_view(subscriber: Subscriber) -> None:
    """Draw until the subscriber is stopped.

    Raises:
        BrokerError: the connection has ended.
    """
    view = LiveView()
    with Live(view, screen=True, refresh_per_second=_A_SECOND, redirect_stdout=False, redirect_stderr=False):
        for message in subscriber.messages():
            view.update(message)


def _sort_doors(doors: Mapping[str, _LiveDoor]) -> list[tuple[str, _LiveDoor]]:
    """Doors with problems first, then by latest event, then by name."""
    named = sorted(doors.items(), key=lambda each: each[0])
    named.sort(key=lambda each: each[1].last.at if each[1].last else "", reverse=True)
    return sorted(named, key=lambda each: not each[1].problems)


def _state(door: _LiveDoor) -> Text:
    if door.problems:
        return Text(f"{_SYMBOLS[_BAD]} {escape_untrusted(door.problems[0])}", _BAD)
    if door.status is None:
        return Text("  no status yet", "dim")
    return Text(f"{_SYMBOLS[_GOOD]} online", _GOOD)


def _event_text(event: Event) -> Text:
    style = _STYLES.get(event.kind, _PLAIN)
    who = f" {escape_untrusted(event.person.name)}" if event.person else ""
    return Text.assemble((f"{_SYMBOLS[style]} {event.kind}", style), who)
