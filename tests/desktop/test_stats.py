"""Intervals and error curves."""

from __future__ import annotations

import pytest
from threshold_tools.stats import auc, clopper_pearson, det_curve, wilson


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
    """None of 200 is at most 1.8 %, as docs/challenge.md quotes."""
    assert (clopper_pearson(0, 200).low, clopper_pearson(0, 200).high) == pytest.approx((0, 0.0183), abs=1e-4)
