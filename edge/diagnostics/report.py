"""Results of checks, and how they are printed within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TextIO

import msgspec

from edge.core.cli_support import counted
from edge.core.errors import ThresholdError

_WIDTH = 80


class State(StrEnum):
    """State of one check: good, a warning (the door works), or an error (it prevents the first event)."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class CheckResult(msgspec.Struct, frozen=True):
    """What was checked, its state, and what to do unless the state is good."""

    what: str
    state: State
    detail: str
    remedy: str = ""


def ok(what: str, detail: str) -> CheckResult:
    """A good result."""
    return CheckResult(what, State.OK, detail)


def warn(what: str, detail: str, remedy: str) -> CheckResult:
    """A warning."""
    return CheckResult(what, State.WARN, detail, remedy)


def fail(what: str, detail: str, remedy: str) -> CheckResult:
    """An error."""
    return CheckResult(what, State.FAIL, detail, remedy)


def ask(what: str, check: Callable[[], CheckResult | str], remedy: str) -> CheckResult:
    """Run a check that returns a result or a detail when all is well; an error that it raises fails with `remedy`."""
    try:
        found = check()
    except ThresholdError as error:
        return fail(what, str(error), remedy)
    return ok(what, found) if isinstance(found, str) else found


_MARKS = {State.OK: "✓", State.WARN: "!", State.FAIL: "✗"}
_PLAIN = {State.OK: "+", State.WARN: "!", State.FAIL: "x"}


def row(result: CheckResult, stream: TextIO) -> str:
    """Mark (plain if the stream cannot encode it), state, what was checked, detail, and the remedy on its own lines."""
    mark = (_MARKS if _can_encode_marks(stream) else _PLAIN)[result.state]
    head = f"{mark} {result.state:4}  {result.what:9} "
    lines = _wrap(result.detail, head)
    if result.remedy:
        lines += _wrap(result.remedy, " " * (len(head) - 4) + "do: ")
    return "\n".join(lines)


def summary(results: Sequence[CheckResult]) -> str:
    """Number of errors and warnings."""
    failed = sum(result.state is State.FAIL for result in results)
    warned = sum(result.state is State.WARN for result in results)
    return f"{counted(failed, 'error')}, {counted(warned, 'warning')}"


def _wrap(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head]


def _can_encode_marks(stream: TextIO) -> bool:
    try:
        "".join(_MARKS.values()).encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
