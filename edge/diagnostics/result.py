"""One thing that was looked at, and how it stands."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from edge.core.errors import ThresholdError


class State(StrEnum):
    """State of one finding: good, a warning (the door works), or an error."""

    OK = "ok"
    WARN = "look"
    FAIL = "fail"


class CheckResult(msgspec.Struct, frozen=True):
    """What was looked at, how it stands, and what to do unless that is well."""

    what: str
    state: State
    detail: str
    remedy: str = ""


def ok(what: str, detail: str) -> CheckResult:
    """Nothing to do."""
    return CheckResult(what, State.OK, detail)


def warn(what: str, detail: str, remedy: str) -> CheckResult:
    """A warning: the door works, but somebody should look at this."""
    return CheckResult(what, State.WARN, detail, remedy)


def fail(what: str, detail: str, remedy: str) -> CheckResult:
    """An error: it prevents the first event."""
    return CheckResult(what, State.FAIL, detail, remedy)


def ask(what: str, question: Callable[[], CheckResult | str], remedy: str) -> CheckResult:
    """What a question finds: a finding, a detail when all is well, or `remedy` for what it raises."""
    try:
        found = question()
    except ThresholdError as error:
        return fail(what, str(error), remedy)
    return ok(what, found) if isinstance(found, str) else found
