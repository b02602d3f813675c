"""Detecting collapse and divergence."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch", reason="not installed: pip install -e '.[lab]'")

from threshold_tools.lab.metric_learning.training import WINDOW, CollapseDetector


class TestCollapseDetector:
    def test_vectors_that_come_together_are_noticed(self) -> None:
        detector = CollapseDetector(0.2)
        assert not detector.update(0.05, 1.9)
        assert not detector.update(0.05, 0.2)
        assert detector.update(0.05, 0.18).startswith("collapsed: all vectors alike, 0.180 apart, at first 1.900; ")

    def test_loss_stuck_at_the_margin_is_detected(self) -> None:
        detector = CollapseDetector(0.2)
        answers = [detector.update(0.2 + 0.003 * (-1) ** step, 1.9) for step in range(WINDOW)]
        assert not any(answers[:-1])
        assert answers[-1].startswith("collapsed: the loss stays at 0.200")

    def test_loss_that_passes_the_margin_is_not_stuck(self) -> None:
        detector = CollapseDetector(0.2)
        assert not any(detector.update(0.25 - 0.001 * step, 1.9) for step in range(3 * WINDOW))

    def test_a_loss_that_is_no_number_is_noticed(self) -> None:
        assert CollapseDetector(0.2).update(math.nan, 1.9).startswith("diverged: ")
