"""Processor time an hour of three scenes."""

from __future__ import annotations

import math

import cpu_per_hour

from edge.core.config import ModelsConfig

ONE_THREAD = ModelsConfig(threads=1)


def test_three_scenes_in_cpu_seconds_an_hour() -> None:
    figures = cpu_per_hour.measure(ONE_THREAD, 1)
    assert [each.unit for each in figures] == ["CPU s/h"] * 3
    assert len({each.name for each in figures}) == 3
    assert all(0 < each.value < math.inf for each in figures)
