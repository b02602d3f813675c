"""How results of checks are printed."""

from __future__ import annotations

import io

from edge.diagnostics.report import CheckResult, State, row, summary


def test_plain_marks_where_the_terminal_needs_them() -> None:
    found = CheckResult("camera", State.FAIL, "it is gone", "plug it in")
    assert row(found, io.TextIOWrapper(io.BytesIO(), "utf-8")).startswith("✗ fail  camera")
    assert row(found, io.TextIOWrapper(io.BytesIO(), "ascii")).startswith("x fail  camera")
    assert summary([found]) == "1 error, 0 warnings"
