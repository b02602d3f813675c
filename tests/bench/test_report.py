"""Report of `edge bench`: medians with intervals, ratios, reading, comparison and tables."""

from __future__ import annotations

import io
import random
from pathlib import Path

import msgspec
import pytest
from support.pty_stream import PtyStream

from edge.bench.report import (
    Measurement,
    Report,
    Timing,
    compare,
    figure,
    ratios,
    read_report,
    times,
)
from edge.bench.tables import comparison_table, report_table
from edge.core.errors import InputError
from edge.core.terminal import Terminal

PIPE = Terminal(io.StringIO())


def report(*figures: Measurement) -> Report:
    return Report(
        program="1",
        machine="m",
        cores=1,
        load=0.0,
        python="3",
        runtime="r",
        threads=1,
        broker="",
        figures=figures,
    )


def test_only_a_change_beyond_the_noise_is_marked() -> None:
    before = report(
        Measurement("s", "apart", "ms", 10, 9, 11, None, 9),
        Measurement("s", "overlapping", "ms", 10, 9, 12, None, 9),
        Measurement("s", "apart by a hair", "ms", 10, 9.99, 10.01, None, 9),
        Measurement("s", "one run", "MB", 100, 100, 100, None, 1),
        Measurement("s", "one run, far", "MB", 100, 100, 100, None, 1),
        Measurement("s", "gone", "MB", 100, 100, 100, None, 1),
    )
    after = report(
        Measurement("s", "apart", "ms", 5, 4, 6, None, 9),
        Measurement("s", "overlapping", "ms", 12, 11, 13, None, 9),
        Measurement("s", "apart by a hair", "ms", 10.1, 10.05, 10.2, None, 9),
        Measurement("s", "one run", "MB", 104, 104, 104, None, 1),
        Measurement("s", "one run, far", "MB", 106, 106, 106, None, 1),
        Measurement("s", "new", "MB", 100, 100, 100, None, 1),
    )
    changes = compare(before, after).changes
    assert {change.name: change.changed for change in changes} == {
        "apart": True,
        "overlapping": False,
        "apart by a hair": False,
        "one run": False,
        "one run, far": True,
    }
    assert changes[0].ratio == 0.5
    assert comparison_table(compare(before, after), PIPE).splitlines()[-1].startswith("2 of 5 figures changed")


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(msgspec.json.encode(report(figure("s", "n", "ms", [1.0, 2.0]))))
    assert read_report(path) == report(figure("s", "n", "ms", [1.0, 2.0]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"figures":[]}',
        msgspec.json.encode(report())[:-2],
        msgspec.json.encode(report()).replace(b'"version":1', b'"version":2'),
        msgspec.json.encode(report(figure("s", "n", "ms", [1.0]))).replace(b'"value":1.0', b'"value":1e99'),
        msgspec.json.encode(report(figure("s", "n", "ms", [1.0]))).replace(b'"runs":1', b'"runs":0'),
    ],
)
def test_a_damaged_report_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S+bench\.json: not a report .*; make one with") as refused:
        read_report(path)
    assert "\n" not in str(refused.value)


def test_a_missing_report_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: cannot be read"):
        read_report(tmp_path / "absent")


def test_tables_have_every_figure_in_100_columns() -> None:
    figures = [
        *times("steps", "one_face_followed / its bare models", [Timing(123_456_789, 98_765_432)] * 3),
        *times("steps", "second", [Timing(1, 1)]),
        Measurement("power", "an hour", "CPU s/h", 123_456.7, 1000.5, 234_567.8, 99.5, 12),
    ]
    both = [report_table(report(*figures), PIPE), comparison_table(compare(report(*figures), report(*figures)), PIPE)]
    for text in both:
        assert max(map(len, text.splitlines())) <= 100
        assert all(each.name in text for each in figures)
    assert "98.8" in both[0].splitlines()[4]  # processor time is in the row of the wall time


@pytest.mark.parametrize("columns", [80, 100])
def test_tables_fit_the_terminal(columns: int) -> None:
    figures = times("steps", "empty_moving_searched / its bare models", [Timing(123_456_789, 98_765_432)] * 3)
    with PtyStream(columns) as stream:
        terminal = Terminal(stream, {"NO_COLOR": "1"})
        for text in (
            report_table(report(*figures), terminal),
            comparison_table(compare(report(*figures), report(*figures)), terminal),
        ):
            assert max(map(len, text.splitlines())) <= columns


def test_figure_is_median_with_its_95_percent_interval() -> None:
    """Of 1..100 the binomial 95 % interval of the median is from the 40th to the 61st value."""
    values = [float(number) for number in range(1, 101)]
    random.Random(0).shuffle(values)
    one = figure("s", "n", "ms", values)
    assert (one.value, one.low, one.high, one.runs) == (50.5, 40, 61, 100)
    assert one.tail == pytest.approx(95.05, abs=0.01)


def test_single_run_has_no_interval_and_no_tail() -> None:
    one = figure("s", "n", "MB", [3.0])
    assert (one.low, one.value, one.high, one.tail, one.runs) == (3, 3, 3, None, 1)


def test_ratios_are_taken_run_by_run() -> None:
    pairs = [(Timing(2 * ns, 3 * ns), Timing(ns, ns)) for ns in (100, 1000, 10_000)]
    wall, cpu = ratios("s", "n", pairs)
    assert (wall.value, wall.low, wall.high, wall.unit) == (2, 2, 2, "x")
    assert (cpu.value, cpu.unit) == (3, "CPU x")
