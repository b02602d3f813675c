"""Cost of int8 in recognition."""

from __future__ import annotations

import numpy as np
import pytest
from threshold_tools.quantize import accuracy_report

from edge.core.errors import InputError
from edge.core.records import FloatArray

NAMES = [f"person{person:02d}/{photo}.jpg" for person in range(40) for photo in range(3)]


def faces_of(noise: float, spread: float = 0.8) -> FloatArray:
    """A vector for each of NAMES: one direction for each person, photos spread about it, and noise."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(size=(40, 32)), 3, axis=0)
    own = spread * random.normal(size=(120, 32))
    more = noise * np.random.default_rng(1).normal(size=(120, 32))
    vectors = centres + own + more
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def rows_of(report: accuracy_report.AccuracyReport) -> dict[str, accuracy_report.ChainAccuracy]:
    return {row.chain: row for row in report.rows}


def test_noise_costs_accuracy() -> None:
    """Judged on the same pairs, equal vectors lose exactly nothing; vectors with noise lose more than its error."""
    report = accuracy_report.report(
        {accuracy_report.FLOAT: faces_of(0), "same": faces_of(0), "noisy": faces_of(1.5)}, NAMES, "test", 8
    )
    rows = rows_of(report)
    assert (rows["same"].below_float, rows["same"].standard_error, rows["same"].cosine_median) == (0, 0, 1)
    assert rows["noisy"].below_float > 5 * rows["noisy"].standard_error > 0
    assert rows["noisy"].eer_percent > rows["same"].eer_percent
    assert report.people == 40


def test_a_face_that_int8_does_not_find_is_an_error() -> None:
    """A photo without a face counts against the chain that lost it, even where all other pairs are judged rightly."""
    lost = faces_of(0, spread=0.1)
    lost[4] = 0
    row = rows_of(
        accuracy_report.report({accuracy_report.FLOAT: faces_of(0, spread=0.1), "lost": lost}, NAMES, "test", 8)
    )["lost"]
    assert row.no_face == 1
    assert row.below_float > 0
    assert row.below_float == pytest.approx(100 - row.ten_fold_percent)
    assert row.cosine_median == 1


def test_too_few_people_for_folds_are_refused() -> None:
    """Ten folds of different people need twenty of them."""
    with pytest.raises(InputError, match="too few people"):
        accuracy_report.report({accuracy_report.FLOAT: faces_of(0)[:9]}, NAMES[:9], "nine photos", 2)
