"""The table of distances between strangers."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from threshold_tools.quantize.calibrate import impostor_table

from edge.core.errors import InputError
from edge.vision.manifest import default_folder, read_manifest


def test_impostor_table_is_strict_and_falls_with_the_rate() -> None:
    """On distances of known distribution no row lies above the true quantile; the shipped table falls too."""
    distances = np.sort(np.random.default_rng(0).normal(2.0, 0.3, 400_000)).astype(np.float32)
    rows = impostor_table(distances)
    for row in rows:
        assert row.distance_sq <= 2 + 0.3 * NormalDist().inv_cdf(row.fmr) + 0.02
    doubles = np.sort(np.concatenate([distances, np.full(80, 0.3, np.float32)]))  # look-alikes: the tail is heavier
    assert impostor_table(doubles)[2].distance_sq == pytest.approx(0.3, abs=0.011)
    shipped = read_manifest(default_folder()).models["embedder"].impostors
    for several in (rows, shipped):
        assert [row.fmr for row in several] == sorted((row.fmr for row in several), reverse=True)
        assert [row.distance_sq for row in several] == sorted((row.distance_sq for row in several), reverse=True)


def test_too_few_strangers_are_refused() -> None:
    """Two of the anchors that the tail is fitted to need some thousand pairs."""
    with pytest.raises(InputError, match="12 pairs of strangers"):
        impostor_table(np.linspace(1, 3, 12, dtype=np.float32))
