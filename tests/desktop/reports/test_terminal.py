"""Reports on a terminal and in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn, listed
from threshold_tools.reports.terminal import show, to_text, track

from edge.core.cli_support import counted

PROGRAM = """
from threshold_tools.reports.document import ReportDocument, ReportVerdict
from threshold_tools.reports.terminal import show, track
sum(track(range(3), "Counting"))
show(ReportDocument("t", "s", ReportVerdict("bad", "Too few.")))
"""


def table_of(*rows: tuple[str, str]) -> ReportDocument:
    columns = [TableColumn("Name", text=True), TableColumn("Rate", "share of errors")]
    return ReportDocument(
        "t", "s", ReportVerdict("good", "All good."), tables=[ReportTable("T", columns, rows, marked=1)]
    )


def on_terminal(program: str) -> str:
    """Everything that a program prints on a terminal."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=follower, stderr=follower, env=environment
    ) as running:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 65536):
                shown += part
        except OSError:  # Linux reports the end of a terminal as an error
            pass
        os.close(leader)
    assert running.returncode == 0, shown
    return shown.decode()


def test_pipe_gets_plain_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(table_of(("a", "1 %"), ("long name", "10 %")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "All good."
    assert "   Name       Rate" in lines
    assert ">  long name  10 %" in lines
    assert lines[-1] == "  Rate  share of errors"
    assert not any("\x1b" in line for line in lines)


def test_long_lines_are_not_wrapped_in_a_pipe() -> None:
    assert any(len(line) > 3000 for line in to_text(table_of(("a" * 3000, "1 %"), ("b", "2 %"))).splitlines())


def test_terminal_gets_colour_symbol_and_progress() -> None:
    shown = on_terminal(PROGRAM)
    assert "\x1b[1;31m✗ Too few." in shown
    assert "Counting" in shown
    assert "3/3" in shown


def test_pipe_gets_no_progress(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("Too few.\n")


def test_track_passes_everything_on() -> None:
    assert list(track(iter("abc"), "x", total=3)) == ["a", "b", "c"]


def test_counts_and_lists_read_like_english() -> None:
    assert [counted(number, "person", "people") for number in (0, 1, 1200)] == ["0 people", "1 person", "1,200 people"]
    assert counted(2, "photo") == "2 photos"
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
