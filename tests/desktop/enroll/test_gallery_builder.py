"""Thresholds of a gallery that is made from a people folder."""

from __future__ import annotations

import numpy as np
import pytest
from threshold_tools.enroll.gallery_builder import limits_sq


@pytest.mark.parametrize(
    ("kept_sq", "apart_sq", "expected"),
    [
        ({"a": 0.8, "b": 0.7}, 2.0, [0.8, 0.7, 0.75]),
        ({"a": 0.8, "b": 0.7}, 0.8, [0.72, 0.7, 0.72]),
        ({"a": 0.7, "b": 0.7, "gone": 0.1}, 2.0, [0.7, 0.7, 0.7]),
        ({"a": 1.2, "b": 1.2}, 2.0, [1.2, 1.2, 0.86]),
        ({}, 2.0, [0.86, 0.86, 0.86]),
        ({}, 0.8, [0.72, 0.72, 0.72]),
    ],
)
def test_limits_of_a_changed_gallery(kept_sq: dict[str, float], apart_sq: float, expected: list[float]) -> None:
    """Kept exactly, or made stricter by a look-alike; a third person gets the median, at most 0.86 of the table."""
    axes = np.eye(4, dtype=np.float32)
    centroids = np.sqrt(1 - apart_sq / 2) * axes[0] + np.sqrt(apart_sq / 2) * axes[1:]  # equally far from each other
    found = limits_sq(["a", "b", "new"], centroids.astype(np.float32), 0.86, kept_sq)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
