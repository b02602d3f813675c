"""Findings for a person to read, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TextIO

from edge.core.cli_support import counted
from edge.diagnostics.result import CheckResult, State

_WIDTH = 80
_MARKS = {State.OK: "✓", State.WARN: "!", State.FAIL: "✗"}
_PLAIN = {State.OK: "+", State.WARN: "!", State.FAIL: "x"}


def row(finding: CheckResult, stream: TextIO) -> str:
    """A mark and a word, what it is about, how it stands, and the remedy on lines of its own.

    Args:
        finding: to be shown.
        stream: where to; one that cannot show the marks gets plain ones.
    """
    mark = (_MARKS if _shows(stream) else _PLAIN)[finding.state]
    head = f"{mark} {finding.state:4}  {finding.what:9} "
    lines = _wrap(finding.detail, head)
    if finding.remedy:
        lines += _wrap(finding.remedy, " " * (len(head) - 4) + "do: ")
    return "\n".join(lines)


def summary(findings: Sequence[CheckResult]) -> str:
    """One line for all of them."""
    failed = sum(finding.state is State.FAIL for finding in findings)
    looked = sum(finding.state is State.WARN for finding in findings)
    return f"{counted(failed, 'error')}, {counted(looked, 'warning')}"


def _wrap(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head]


def _shows(stream: TextIO) -> bool:
    try:
        "".join(_MARKS.values()).encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
