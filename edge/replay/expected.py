"""Compares the events of a clip with the expected events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.errors import DECODE_ERRORS, ConfigError, InputError
from edge.core.files import atomic_write, require_parent_dir
from edge.core.records import AccessOutcome
from edge.core.toml_config import convert, did_you_mean
from edge.replay.replay import ReplayEvent

TOLERANCE_S = 0.5  # largest time difference between an expected and a found event
# Costs of the alignment: events that share at most one of three fields are not paired.
_UNMATCHED = 1.0  # of an event without a partner
_FIELD = 0.6  # of a field in which partners differ


@dataclass(frozen=True, slots=True)
class EventPair:
    """An expected event and its partner; either may be missing."""

    want: ReplayEvent | None
    have: ReplayEvent | None
    differs: tuple[str, ...]  # of "kind", "person" and "time"; or "missing", or "not expected"


def read_expected(path: Path) -> list[ReplayEvent]:
    """Read a JSON Lines file of events with at least `kind`, `person` and `t`.

    Raises:
        InputError: the file cannot be read, or a line is not an event.
    """
    try:
        texts = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            if text.strip():
                lines.append(_line(msgspec.json.decode(text)))
        except (ConfigError, *DECODE_ERRORS) as error:
            raise InputError(f"{path}:{number}: not an expected event ({error})") from error
    return lines


def _line(event: object) -> ReplayEvent:
    kind = event.get("kind") if isinstance(event, dict) else None
    if isinstance(kind, str) and kind not in list(AccessOutcome):
        hint = did_you_mean(kind, AccessOutcome, otherwise="it must be one of these")
        raise ConfigError(f"unknown kind '{kind}'; {hint} (kinds: {', '.join(AccessOutcome)})")
    return convert(event, ReplayEvent)


def require_absent(path: Path) -> None:
    """Fail early if a file of expected events cannot be written.

    Raises:
        InputError: the file exists, because it is never overwritten, or its folder does not exist.
    """
    require_parent_dir(path)
    if path.exists():
        raise InputError(f"{path}: exists; remove it first if the events of the clip are correct now")


def write_expected(path: Path, lines: Sequence[ReplayEvent]) -> None:
    """Write events for `read_expected`.

    Raises:
        InputError: the file exists, or its folder does not.
    """
    require_absent(path)
    atomic_write(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def match_events(expected: Sequence[ReplayEvent], found: Sequence[ReplayEvent]) -> list[EventPair]:
    """Align expected and found events so that as little as possible differs (Needleman, Wunsch 1970)."""
    rows, columns = len(expected) + 1, len(found) + 1
    cost = [[_UNMATCHED * (row + column) for column in range(columns)] for row in range(rows)]
    for row in range(1, rows):
        for column in range(1, columns):
            together = cost[row - 1][column - 1] + _FIELD * len(_differences(expected[row - 1], found[column - 1]))
            cost[row][column] = min(together, cost[row - 1][column] + _UNMATCHED, cost[row][column - 1] + _UNMATCHED)
    pairs = []
    row, column = rows - 1, columns - 1
    while row or column:
        differs = _differences(expected[row - 1], found[column - 1]) if row and column else ()
        if row and column and cost[row][column] == cost[row - 1][column - 1] + _FIELD * len(differs):
            row, column = row - 1, column - 1
            pairs.append(EventPair(expected[row], found[column], differs))
        elif row and cost[row][column] == cost[row - 1][column] + _UNMATCHED:
            row -= 1
            pairs.append(EventPair(expected[row], None, ("missing",)))
        else:
            column -= 1
            pairs.append(EventPair(None, found[column], ("not expected",)))
    return pairs[::-1]


def difference_table(pairs: Sequence[EventPair]) -> str:
    """Expected and found events side by side; marks: = equal, ! different, - missing, + not expected."""
    rows = [(_short(pair.want), _short(pair.have), pair) for pair in pairs]
    left, right = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    lines = [f"    {'expected':<{left}}  found"]
    for want, have, pair in rows:
        mark = "=" if not pair.differs else "!" if pair.want and pair.have else "-" if pair.want else "+"
        lines.append(f"  {mark} {want:<{left}}  {have:<{right}}   {', '.join(pair.differs)}".rstrip())
    lines.append(f"Times may differ by {TOLERANCE_S:g} s.")
    return "\n".join(lines)


def _differences(want: ReplayEvent, have: ReplayEvent) -> tuple[str, ...]:
    differs = []
    if want.kind != have.kind:
        differs.append("kind")
    if (want.person and want.person.id) != (have.person and have.person.id):
        differs.append("person")
    if abs(want.t - have.t) > TOLERANCE_S:
        differs.append("time")
    return tuple(differs)


def _short(event: ReplayEvent | None) -> str:
    if event is None:
        return "nothing"
    return f"{event.t:7.2f} s  {event.kind:9}  {event.person.id if event.person else '-'}"
