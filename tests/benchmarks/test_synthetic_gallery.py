"""Synthetic galleries and interleaved timing."""

from __future__ import annotations

import numpy as np
from synthetic_gallery import crowd, probes_of, quotient, time_interleaved


def test_made_up_people_fill_the_given_directions() -> None:
    rows = crowd(2000, 40)
    sizes = np.linalg.svd(rows, compute_uv=False)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.sum(sizes[40:] ** 2) / np.sum(sizes**2) < 1e-3 < np.sum(sizes[39:] ** 2) / np.sum(sizes**2)
    assert np.array_equal(rows[:5], crowd(2000, 40)[:5])


def test_probes_alternate_between_enrolled_and_strangers() -> None:
    rows = crowd(1000)
    distances_sq = [float(2 - 2 * (rows @ probe).max()) for probe in probes_of(rows)]
    assert max(distances_sq[::2]) < 0.5 < 0.8 < min(distances_sq[1::2])


def test_each_run_warms_up_before_its_timed_turn() -> None:
    seen: list[str] = []
    laps = time_interleaved([lambda n: seen.append(f"a{n}"), lambda n: seen.append(f"b{n}")], budget_s=0.0, least=2)
    assert [len(each) for each in laps] == [2, 2]
    assert seen == ["a0", "b0", "a0", "a1", "b0", "b1", "a1", "a2", "b1", "b2"]


def test_quotient_is_the_median_of_pairs() -> None:
    assert quotient([10, 20, 900], [10, 10, 300]) == 2.0
