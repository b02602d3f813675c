"""Output of check results on a terminal and in a pipe."""

from __future__ import annotations

import io
import re

import pytest
from support.pty_stream import PtyStream

from edge.core.errors import InputError
from edge.core.terminal import Terminal
from edge.diagnostics.report import CheckResult, ReportPrinter, State, fail_with

RESULTS = (
    CheckResult("power", State.OK, "no under-voltage"),
    CheckResult("camera", State.FAIL, "/dev/video0: no such camera " + "and so on " * 12, "plug it in"),
    CheckResult("rate", State.WARN, "4.0 of 15 frames per second", "add light, " * 12 + "or lower [camera] fps"),
)
ANSI = re.compile(r"\x1b\[[0-9;]*[mK]")


def printed(stream: io.TextIOWrapper) -> None:
    printer = ReportPrinter(Terminal(stream, {"TERM": "xterm"}))
    for result in RESULTS:
        printer.print(result)
    printer.print_summary(RESULTS)


def test_groups_symbols_and_remedies_in_a_pipe() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "utf-8")
    printed(stream)
    lines = raw.getvalue().decode().splitlines()
    assert lines[:4] == ["Board", "  ✓ power         no under-voltage", "", "Camera"]
    assert lines[4].startswith("  ✗ camera        /dev/video0: no such camera")
    assert "                  → plug it in" in lines
    assert "  ! frame rate    4.0 of 15 frames per second" in lines
    assert lines[-1] == "✗ 1 error, 1 warning"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in raw.getvalue().decode()


def test_every_line_fits_a_terminal() -> None:
    for columns in (80, 100):
        with PtyStream(columns) as stream:
            printed(stream)
            shown = stream.read_terminal()
        lines = ANSI.sub("", shown).replace("\r\n", "\n").split("\n")
        assert "\x1b[1;31m✗\x1b[0m" in shown
        assert columns - 15 < max(len(line.rpartition("\r")[2]) for line in lines) <= columns


@pytest.mark.parametrize(
    ("message", "detail", "remedy"),
    [
        ("fps = 9: too large; set at most 5; or less", "fps = 9: too large", "set at most 5; or less"),
        (
            "cannot be reached; is the broker running there?",
            "cannot be reached; is the broker running there?",
            "start it",
        ),
        ("no such camera", "no such camera", "start it"),
    ],
    ids=["advice", "question", "none"],
)
def test_advice_in_an_error_is_its_remedy(message: str, detail: str, remedy: str) -> None:
    """Otherwise a result would contain two remedies."""
    found = fail_with("broker", InputError(message), "start it")
    assert (found.state, found.detail, found.remedy) == (State.FAIL, detail, remedy)


def test_ascii_symbols_where_the_encoding_needs_them() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    printed(stream)
    text = raw.getvalue().decode("ascii")
    assert "  x camera " in text
    assert "> plug it in" in text
