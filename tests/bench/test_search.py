"""The search benchmark: what it searches, and that it measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from edge.bench import search
from edge.bench.search import bench_search as bench
from edge.bench.search import crowd, probes_of, quotient, time_interleaved


def test_made_up_people_fill_as_many_directions_as_told() -> None:
    rows = crowd(2000, 40)
    sizes = np.linalg.svd(rows, compute_uv=False)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.sum(sizes[40:] ** 2) / np.sum(sizes**2) < 1e-3 < np.sum(sizes[39:] ** 2) / np.sum(sizes**2)
    assert np.array_equal(rows[:5], crowd(2000, 40)[:5])


def test_probes_are_by_turns_of_somebody_and_of_nobody() -> None:
    rows = crowd(1000)
    distances_sq = [float(2 - 2 * (rows @ probe).max()) for probe in probes_of(rows)]
    assert max(distances_sq[::2]) < 0.5 < 0.8 < min(distances_sq[1::2])


def test_every_run_takes_its_turn_and_goes_once_before_each_lap() -> None:
    seen: list[str] = []
    laps = time_interleaved([lambda n: seen.append(f"a{n}"), lambda n: seen.append(f"b{n}")], budget_s=0.0, least=2)
    assert [len(each) for each in laps] == [2, 2]
    assert seen == ["a0", "b0", "a0", "a1", "b0", "b1", "a1", "a2", "b1", "b2"]


def test_a_quotient_is_the_median_of_neighbours() -> None:
    assert quotient([10, 20, 900], [10, 10, 300]) == 2.0


def test_it_measures_each_size() -> None:
    small, large = bench([100, 9000], budget_s=0.01)
    assert (small.people, small.extra_mb, large.people) == (100, 0.0, 9000)
    assert large.extra_mb == pytest.approx(9000 * 96 / 1e6, abs=0.06)
    assert small.ratio > 0
    assert small.nearest.median_ms > 0


def test_what_does_not_fit_into_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_available_bytes", lambda: 2 * 500 * 192 * 5)
    assert [each.people for each in bench([100, 500, 501], budget_s=0.01)] == [100, 500]
