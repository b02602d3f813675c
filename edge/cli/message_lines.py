"""Messages of doors as lines for people: aligned columns on a terminal, complete lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from edge.core.cli_support import counted, escape_untrusted
from edge.core.terminal import Style, Terminal, cut, fit, text_width
from edge.events.reasons import CHALLENGE_FAILURES, reason_meaning
from edge.events.schema import (
    CameraState,
    Challenge,
    DoorConnection,
    Event,
    EventKind,
    Health,
    LockState,
    OpenCommand,
    PersonRef,
    PresenceReport,
    Record,
    ReleaseReport,
    Status,
)
from edge.liveness.prompts import ChallengeState
from edge.mqtt.subscriber import Message

_LABEL_WIDTH = 15  # the longest label
_DOOR_WIDTHS = (12, 24)  # columns of the door: at least, at most
_LABELS = {EventKind.OPEN_EXPIRED: "not opened", EventKind.OPEN_UNHEARD: "no lock reached"}
_SOMEBODY = {True: "somebody here", False: "nobody here", None: "not known"}
EVENT_STYLES = {
    EventKind.DOOR_OPEN: Style.GOOD,
    EventKind.DENIED: Style.ERROR,
    EventKind.UNKNOWN: Style.WARNING,
    EventKind.CAMERA_LOST: Style.ERROR,
    EventKind.CAMERA_BLIND: Style.ERROR,
    EventKind.STORE_FAILING: Style.ERROR,
    EventKind.EVENTS_DROPPED: Style.ERROR,
    EventKind.RELEASE_REFUSED: Style.ERROR,
    EventKind.OPEN_EXPIRED: Style.WARNING,
    EventKind.OPEN_UNHEARD: Style.WARNING,
}


@dataclass(frozen=True, slots=True)
class _Line:
    """Time (RFC 3339, or None), style, label and text of a message; not escaped yet."""

    at: str | None
    style: Style
    label: str
    text: str


class MessageFormatter:
    """Formats messages as lines; on a terminal they never wrap, and a date is shown when it changes.

    Args:
        terminal: where the lines are printed.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._date: date | None = None

    def lines(self, message: Message) -> list[str]:
        """The line of a message, without control characters of the message; on a terminal a date may precede it."""
        line = _describe(message.record)
        label, text = escape_untrusted(line.label), escape_untrusted(line.text)
        site, door = escape_untrusted(message.door.site), escape_untrusted(message.door.door)
        moment = local_time(line.at)
        terminal = self._terminal
        if not terminal.interactive:
            at = moment.isoformat(" ", "seconds") if moment else "-"
            return [f"{at:25}  {f'{site}/{door}':16}  {label:{_LABEL_WIDTH}}  {text}".rstrip()]
        at = f"{moment:%H:%M:%S}" if moment else ""
        least, most = _DOOR_WIDTHS
        head = f"{at:8}  {_fit_door(site, door, min(max(terminal.width // 6, least), most))}  "
        shown = terminal.styled(fit(label, _LABEL_WIDTH), line.style)
        room = max(terminal.width - text_width(head) - _LABEL_WIDTH - 4, 1)
        row = f"{terminal.styled(head, Style.DIM)}{terminal.symbol(line.style)} {shown}  {cut(text, room)}"
        return [*self._date_line(moment), row]

    def _date_line(self, moment: datetime | None) -> list[str]:
        if moment is None or moment.date() == self._date:
            return []
        self._date = moment.date()
        day = f"{moment:%A} {moment.day} {moment:%B %Y}, UTC{moment.isoformat()[-6:]}"
        return [self._terminal.styled(day, Style.BOLD)]


def local_time(at: str | None) -> datetime | None:
    """An RFC 3339 time as an aware datetime in the time zone of this machine; None if it is not a time."""
    with contextlib.suppress(ValueError, OverflowError):
        return datetime.fromisoformat(at).astimezone() if at else None
    return None


def event_label(kind: EventKind) -> str:
    """The kind of an event for people."""
    return _LABELS.get(kind, kind.replace("-", " "))


def _fit_door(site: str, door: str, width: int) -> str:
    """Site and door in exactly `width` columns; the site is shortened first."""
    if text_width(door) + 3 <= width:
        return fit(f"{cut(site, width - text_width(door) - 1)}/{door}", width)
    return fit(door, width)


def _describe(record: Record | None) -> _Line:
    for kind, describe in _DESCRIPTIONS.items():
        if isinstance(record, kind):
            return describe(record)
    return _Line(None, Style.WARNING, "not readable", "")


def _event(event: Event) -> _Line:
    parts = [event.person.name or event.person.id] if event.person else []
    if event.kind is not EventKind.DOOR_OPEN:
        parts.append(reason_meaning(event.reason, event.detail))
    if event.distance_sq is not None and event.threshold_sq is not None:
        parts.append(f"distance {event.distance_sq:.2f} of {event.threshold_sq:.2f}")
    if event.person and event.person.id != event.person.name:
        parts.append(f"id {event.person.id}")
    style = EVENT_STYLES.get(event.kind, Style.PLAIN)
    return _Line(event.at, style, event_label(event.kind), _joined(*parts))


def _open(command: OpenCommand) -> _Line:
    expires = local_time(command.expires_at)
    until = f"valid until {expires:%H:%M:%S}" if expires else ""
    return _Line(command.at, Style.GOOD, "open command", _joined(_person(command.person), until))


def _status(status: Status) -> _Line:
    style = Style.GOOD if status.status is DoorConnection.ONLINE else Style.ERROR
    return _Line(status.since, style, status.status, reason_meaning(status.reason))


def _presence(report: PresenceReport) -> _Line:
    text = "the camera does not work" if report.somebody is None else ""
    return _Line(report.at, Style.PLAIN, _SOMEBODY[report.somebody], text)


def _release(report: ReleaseReport) -> _Line:
    people = "" if report.people is None else counted(report.people, "person", "people")
    label = "no release" if report.release is None else f"release {report.release}"
    style = Style.GOOD if report.ok else Style.ERROR
    return _Line(report.applied_at, style, label, _joined(people, report.detail or reason_meaning(report.reason)))


def _health(health: Health) -> _Line:
    parts = [f"camera {health.camera}", f"{health.fps:.1f} fps"]
    if health.temperature_c is not None:
        parts.append(f"{health.temperature_c:.0f} °C")
    if health.lock is not None:
        parts.append(f"lock {health.lock}")
    if health.outbox_depth:
        parts.append(f"{counted(health.outbox_depth, 'event')} not delivered")
    bad = health.camera in (CameraState.LOST, CameraState.BLIND) or health.lock is LockState.FAILED
    style = Style.ERROR if bad else Style.WARNING if health.problems else Style.GOOD
    return _Line(health.at, style, "health", "; ".join([*health.problems, ", ".join(parts)]))


def _challenge(challenge: Challenge) -> _Line:
    if challenge.state is ChallengeState.ASKED:
        step = f"step {challenge.step} of {challenge.steps}"
        return _Line(challenge.at, Style.PLAIN, "challenge", _joined((challenge.ask or "").replace("-", " "), step))
    style = Style.GOOD if challenge.state is ChallengeState.PASSED else Style.ERROR
    why = CHALLENGE_FAILURES[challenge.reason].rstrip(".") if challenge.reason else ""
    return _Line(challenge.at, style, "challenge", _joined(challenge.state, why))


_DESCRIPTIONS: dict[type[Record], Callable[..., _Line]] = {
    Event: _event,
    OpenCommand: _open,
    Status: _status,
    PresenceReport: _presence,
    ReleaseReport: _release,
    Health: _health,
    Challenge: _challenge,
}


def _person(person: PersonRef) -> str:
    return person.name if person.name == person.id else f"{person.name} ({person.id})"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
