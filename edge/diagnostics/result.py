"""One thing that was looked at, and how it stands."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from edge.core.errors import ThresholdError


class State(StrEnum):
    """State of one finding: good, a warning (the door works), or an error."""

    OK = "ok"
    LOOK = "look"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, how it stands, and what to do unless that is well."""

    what: str
    state: State
    detail: str
    remedy: str = ""


def good(what: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(what, State.OK, detail)


def doubtful(what: str, detail: str, remedy: str) -> Finding:
    """A warning: the door works, but somebody should look at this."""
    return Finding(what, State.LOOK, detail, remedy)


def bad(what: str, detail: str, remedy: str) -> Finding:
    """An error: it prevents the first event."""
    return Finding(what, State.FAIL, detail, remedy)


def asked(what: str, question: Callable[[], Finding | str], remedy: str) -> Finding:
    """What a question finds: a finding, a detail when all is well, or `remedy` for what it raises."""
    try:
        found = question()
    except ThresholdError as error:
        return bad(what, str(error), remedy)
    return good(what, found) if isinstance(found, str) else found
