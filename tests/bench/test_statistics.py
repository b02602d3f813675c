"""Medians with intervals, and ratios of paired runs."""

from __future__ import annotations

import random

import pytest

from edge.bench.statistics import Timing, figure, ratios


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
