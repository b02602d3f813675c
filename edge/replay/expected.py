"""Compares the events of a clip with the expected ones, each with its partner."""

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

TOLERANCE_S = 0.5  # an expected event may come so much earlier or later
_UNMATCHED = 1.0  # what an event without a partner costs
_SIDE = 34  # columns of the expected side
_FIELD = 0.6  # and each field in which partners differ, so that two that share one field at most stay apart


@dataclass(frozen=True, slots=True)
class EventPair:
    """An expected event and its partner; either may be missing."""

    want: ReplayEvent | None
    have: ReplayEvent | None
    differs: tuple[str, ...]  # of kind, person and time; all of them where one is missing


def read_expected(path: Path) -> list[ReplayEvent]:
    """Lines of a JSON Lines file with at least `kind`, `person` and `t`.

    Raises:
        InputError: it cannot be read, or a line is not such an object.
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
        raise ConfigError(f"unknown kind '{kind}'; {did_you_mean(kind, AccessOutcome)}")
    return convert(event, ReplayEvent)


def require_absent(path: Path) -> None:
    """Fail early if a file exists or its folder does not.

    Raises:
        InputError: expected events are never overwritten.
    """
    require_parent_dir(path)
    if path.exists():
        raise InputError(f"{path}: exists already; remove it first, if what the clip gives now is what you expect")


def write_expected(path: Path, lines: Sequence[ReplayEvent]) -> None:
    """Write lines for `read_expected`; raises InputError if the file exists."""
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
    """Both sides for people; marks: = the same, ! different, - missing, + not expected."""
    lines = [f"    {'expected':<{_SIDE}}  found"]
    for pair in pairs:
        mark = "=" if not pair.differs else "!" if pair.want and pair.have else "-" if pair.want else "+"
        note = f"   {', '.join(pair.differs)}" if pair.differs else ""
        lines.append(f"  {mark} {_short(pair.want):<{_SIDE}}  {_short(pair.have)}{note}")
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
