"""Temperature of the board, and memory of a process."""

from __future__ import annotations

import os

import pytest

from edge.runtime.system_stats import memory_mb, temperature_c


def test_memory_of_this_process() -> None:
    now, peak = memory_mb()
    assert 1 < now <= peak
    assert memory_mb(os.getpid())[0] == pytest.approx(now, abs=20)


def test_temperature_is_plausible_or_unknown() -> None:
    found = temperature_c()
    assert found is None or -40 < found < 150
