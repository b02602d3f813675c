"""Comparison of searches: equal results and the report."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest
from compare_search import Comparison, Report, Size, Standing, compare, like, main, show
from synthetic_gallery import crowd
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings

from edge.core.errors import InputError

PEERS = [name for name in ("faiss", "usearch") if importlib.util.find_spec(name)]


def test_all_programs_name_the_same_distances() -> None:
    """Gallery sizes below and above the limit for codes in Threshold's index."""
    sizes = compare([300, 9000], crowd, budget_s=0.01, one_thread=True)
    assert [size.people for size in sizes] == [300, 9000]
    assert [size.index_mb for size in sizes] == [0.0, pytest.approx(9000 * 96 / 1e6, abs=0.06)]
    for size in sizes:
        assert list(size.standings) == ["threshold", "numpy", *PEERS]
        assert size.standings["threshold"].of_ours == 1.0
        assert size.standings["numpy"].agreed is None
        assert all(size.standings[name].agreed == 1.0 for name in ["threshold", *PEERS])


def test_one_thread_and_default_threads(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--people", "200", "--seconds", "0.01", "--directions", "192", "--json"])
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert [each.threads for each in report.comparisons] == ["1", "default"]
    assert [each.sizes[0].people for each in report.comparisons] == [200, 200]
    assert report.crowd == "people in 192 of 192 directions"


def test_a_program_that_errs_is_named() -> None:
    ours, theirs = Standing(10.0, 1.0, 1.0), Standing(25.0, 2.5, 0.75)
    size = Size(1000, 1.5, 0.1, 9, {"threshold": ours, "other": theirs})
    shown = show(Report("people", {"numpy": "2"}, [Comparison("1", [size]), Comparison("default", [size])]))
    assert "1,000         10 ( 1.00)          25 ( 2.50)" in shown
    assert "different distances: other at 1,000: 75.0%" in shown


def test_people_can_be_made_up_like_real_ones() -> None:
    real = crowd(4000, 20, seed=3)
    made = like(real, 4000)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    assert np.allclose(np.cov(made.T), np.cov(real.T), atol=5e-3)
    assert np.abs(made.T @ made / 4000 - real.T @ real / 4000).max() < 5e-3


def test_too_few_real_ones_are_refused(tmp_path: Path) -> None:
    rows = crowd(5)
    stored = LabelledEmbeddings(rows, np.ones(5, np.bool_), [f"a/{number}.jpg" for number in range(5)], "e" * 64)
    save_embeddings(tmp_path / "x.npz", stored)
    with pytest.raises(InputError, match="5 faces; more than 192 are needed"):
        main(["--vectors", str(tmp_path / "x.npz")])


@pytest.mark.parametrize(
    "words",
    [["--people", "1"], ["--directions", "0"], ["--seconds", "0"], ["--seconds", "nan"], ["--directions", "193"]],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
