"""Results of checks, and how a terminal shows them: grouped, with a symbol and a remedy each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from edge.core.cli_support import counted
from edge.core.errors import ThresholdError
from edge.core.terminal import Style, Terminal, fit

_MAX_WIDTH = 100  # columns; longer lines are hard to read
_LABEL_WIDTH = 13
_INDENT = 4 + _LABEL_WIDTH + 1  # columns before the detail
# Error messages of Threshold end with what to do, after a semicolon.
_ADVICE = re.compile(
    r"; +((?:check|compile|correct|enrol|install|make|plug|put|reinstall|remove|restore|run|set|use|write)\b.*)"
)
_CLEAR_LINE = "\r\x1b[K"
# Name of a check in JSON: its heading and its label for people.
_LABELS = {
    "config": ("Configuration", "door.toml"),
    "settings": ("Configuration", "settings"),
    "power": ("Board", "power"),
    "heat": ("Board", "temperature"),
    "memory": ("Board", "memory"),
    "disk": ("Board", "disk"),
    "wear": ("Board", "storage wear"),
    "state": ("Files", "state folder"),
    "privacy": ("Files", "permissions"),
    "camera": ("Camera", "camera"),
    "rate": ("Camera", "frame rate"),
    "exposure": ("Camera", "exposure"),
    "focus": ("Camera", "focus"),
    "models": ("Recognition", "models"),
    "runtime": ("Recognition", "runtime"),
    "face": ("Recognition", "face"),
    "gallery": ("Recognition", "gallery"),
    "release": ("Recognition", "release"),
    "trust": ("Recognition", "signing keys"),
    "verdict": ("Recognition", "thresholds"),
    "access": ("Access", "access rules"),
    "clock": ("Access", "clock"),
    "lock": ("Access", "lock"),
    "broker": ("Network", "broker"),
    "tls": ("Network", "certificate"),
    "metrics": ("Network", "metrics"),
    "snapshots": ("Network", "snapshots"),
}


class State(StrEnum):
    """State of one check: good, a warning (the door works), or an error (it prevents the first event)."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES = {State.OK: Style.GOOD, State.WARN: Style.WARNING, State.FAIL: Style.ERROR}
_DETAIL_STYLES = {State.OK: Style.PLAIN, State.WARN: Style.WARNING, State.FAIL: Style.ERROR}


class CheckResult(msgspec.Struct, frozen=True):
    """Name of a check, its state, and a remedy unless the state is good."""

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


def fail_with(what: str, error: ThresholdError, remedy: str) -> CheckResult:
    """An error of a check; advice in its message becomes the remedy, else `remedy` is used."""
    message = str(error)
    advice = _ADVICE.search(message)
    return fail(what, message[: advice.start()], advice[1]) if advice else fail(what, message, remedy)


def run_check(what: str, check: Callable[[], CheckResult], remedy: str) -> CheckResult:
    """Run a check; an error that it raises becomes a failed result, with `remedy` if it contains no advice."""
    try:
        return check()
    except ThresholdError as error:
        return fail_with(what, error, remedy)


class ReportPrinter:
    """Prints results as they arrive, under headings.

    Args:
        terminal: where to print. An interactive one also shows that a check is running.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._heading = ""

    def print(self, result: CheckResult) -> None:
        """Print a result, and its heading if that is a new one."""
        terminal = self._terminal
        heading, label = _LABELS[result.what]
        self._clear_progress()
        if heading != self._heading:
            if self._heading:
                terminal.print()
            terminal.print(terminal.styled(heading, Style.BOLD))
            self._heading = heading
        style = _STYLES[result.state]
        detail = [terminal.styled(line, _DETAIL_STYLES[result.state]) for line in self._wrap(result.detail, _INDENT)]
        terminal.print(f"  {terminal.symbol(style)} {fit(label, _LABEL_WIDTH)} {detail[0]}")
        for line in detail[1:]:
            terminal.print(" " * _INDENT + line)
        for number, line in enumerate(self._wrap(result.remedy, _INDENT + 2) if result.remedy else ()):
            terminal.print(f"{' ' * _INDENT}{' ' if number else terminal.arrow()} {line}")
        if terminal.interactive:
            terminal.print(f"  {terminal.styled('checking …', Style.DIM)}", end="")

    def print_summary(self, results: Sequence[CheckResult]) -> None:
        """Print the number of errors and warnings."""
        self._clear_progress()
        failed = sum(result.state is State.FAIL for result in results)
        warned = sum(result.state is State.WARN for result in results)
        style = Style.ERROR if failed else Style.WARNING if warned else Style.GOOD
        text = f"{counted(failed, 'error')}, {counted(warned, 'warning')}"
        self._terminal.print(f"\n{self._terminal.symbol(style)} {self._terminal.styled(text, style)}")

    def _clear_progress(self) -> None:
        if self._terminal.interactive and self._heading:
            self._terminal.print(_CLEAR_LINE, end="")

    def _wrap(self, text: str, indent: int) -> list[str]:
        width = min(self._terminal.width, _MAX_WIDTH) - indent
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
