"""Intervals and error curves."""

from __future__ import annotations

import numpy as np
import pytest
from threshold_tools.stats import RankedScores, auc, clopper_pearson, det_curve, wilson


def test_curves_and_areas_agree_with_counting() -> None:
    genuine, attacks = [0.1, 0.2, 0.2, 0.6], [0.2, 0.5, 0.9]
    for limit, bpcer, apcer in det_curve(genuine, attacks):
        assert bpcer == pytest.approx(sum(score >= limit for score in genuine) / 4)
        assert apcer == pytest.approx(sum(score < limit for score in attacks) / 3)
    pairs = [(shown > real) + (shown == real) / 2 for real in genuine for shown in attacks]
    assert auc(genuine, attacks) == pytest.approx(sum(pairs) / len(pairs))
    assert det_curve(genuine, []) == []
    assert auc([], attacks) is None


def test_wilson_gives_the_published_interval() -> None:
    share = wilson(10, 100)  # 0.0552 to 0.1744 (Newcombe 1998, method 3)
    assert share
    assert (share.low, share.high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(0, 0) is None


def test_clopper_pearson_gives_the_exact_interval() -> None:
    """None of 200 is at most 1.8 %, as docs/lab/challenge.md quotes."""
    assert (clopper_pearson(0, 200).low, clopper_pearson(0, 200).high) == pytest.approx((0, 0.0183), abs=1e-4)


class TestRankedScores:
    SCORES = RankedScores(np.array([0.4, 0.1, 0.3, 0.2], np.float32))

    def test_threshold_stays_below_the_first_score_too_many(self) -> None:
        none, one, every = self.SCORES.thresholds([0.2, 0.25, 1.0])
        assert none == pytest.approx(0.1)
        assert none < np.float32(0.1)
        assert np.float32(0.1) <= one < np.float32(0.2)
        assert every == 4

    def test_score_at_the_threshold_is_accepted(self) -> None:
        assert self.SCORES.accepted(np.array([0.0, 0.2, 1.0], np.float32)).tolist() == [0, 2, 4]

    def test_weights_are_those_of_a_repeated_score(self) -> None:
        weights = np.array([0, 2, 1, 1])  # in the original order: 0.4 is not drawn, 0.1 twice
        repeated = RankedScores(np.array([0.1, 0.1, 0.3, 0.2], np.float32))
        assert self.SCORES.thresholds([0.5, 0.75], weights) == repeated.thresholds([0.5, 0.75])
        assert self.SCORES.accepted([0.25], weights).tolist() == repeated.accepted([0.25]).tolist() == [3]
