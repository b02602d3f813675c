"""The shortlist of a large gallery always has the nearest person and the runner-up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray
from support.face_images import DIMENSION

from edge.core.records import FloatArray, Person
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.recognition.shortlist import IndexTuning, build_index

BEYOND = {"flat": 0.02, "thick": 0.15}
SAME = 2e-6  # float32 cannot distinguish closer similarities


def units(vectors: NDArray[np.floating]) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def crowd(kind: str, count: int, random: np.random.Generator, dimension: int = DIMENSION) -> FloatArray:
    """(count, D) unit rows: similar to embeddings of faces, or as different as possible."""
    anywhere = random.normal(size=(count, dimension))
    if kind == "anywhere":
        return units(anywhere)
    if kind in BEYOND:  # in few directions, with a small rest
        few = max(dimension // 5, 2)
        inside = random.normal(size=(count, few)) @ random.normal(size=(few, dimension))
        return units(inside + BEYOND[kind] * anywhere)
    if kind == "uneven":  # largest accepted difference of lengths
        return np.asarray(units(anywhere) * (1 + 4.9e-4 * random.choice([-1, 1], size=(count, 1))), np.float32)
    if kind == "alike":
        return units(random.normal(size=dimension) + 1e-2 * anywhere)
    if kind == "twins":
        return units(np.repeat(anywhere[: count // 2 + 1], 2, axis=0)[:count])
    if kind == "one":
        return units(np.tile(random.normal(size=dimension), (count, 1)))
    spiky = units(anywhere)  # a single large number makes the codes of all other rows coarse
    spiky[0] = np.eye(dimension)[-1]
    return spiky


KINDS = ["anywhere", "flat", "thick", "uneven", "alike", "twins", "one", "spiky"]
DIMENSIONS = [2, 4, 4, 6, 8, 16, DIMENSION]  # rounding is worst in few dimensions


def probe(kind: str, rows: FloatArray, random: np.random.Generator) -> FloatArray:
    """A (D,) unit vector."""
    noise = random.normal(size=rows.shape[1])
    row = rows[random.integers(len(rows))]
    seen = {
        "somebody": row + 0.03 * noise,
        "exactly": row,
        "between": row + rows[random.integers(len(rows))] + 1e-4 * noise,
        "stranger": noise,
        "opposite": -row,
        "corner": np.eye(rows.shape[1])[0],
    }
    return units(seen[kind])


PROBES = ["somebody", "exactly", "between", "stranger", "opposite", "corner"]


# With this tuning, galleries of a few hundred people behave like those of a million.
SMALL = IndexTuning(min_rows=2, block_rows=40, shortlist_rows=8, lanes=2, max_residual=0.02)


def made(rows: FloatArray) -> Gallery:
    people = [Person(f"p{row}", "") for row in range(len(rows))]
    return Gallery(people, rows, np.ones(len(rows), np.float32), GalleryInfo("", "", len(rows)), tuning=SMALL)


@settings(max_examples=200, deadline=None)
@given(some.sampled_from(KINDS), some.integers(2, 1000), some.sampled_from(DIMENSIONS), some.integers(0, 2**32 - 1))
def test_index_against_a_linear_search(kind: str, count: int, dimension: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = crowd(kind, count, random, dimension)
    large = made(rows)
    for seen in PROBES * 4:
        embedding = probe(seen, rows, random)
        likeness = rows.astype(np.float64) @ embedding.astype(np.float64)
        second_sq, first_sq = np.clip(2 - 2 * np.sort(likeness)[-2:], 0, 4)
        match = large.nearest(embedding)
        assert match.person is not None
        assert likeness[int(match.person.id[1:])] == pytest.approx(likeness.max(), abs=SAME)
        assert match.distance_sq == pytest.approx(first_sq, abs=2 * SAME)
        assert match.runner_up_sq == pytest.approx(second_sq, abs=2 * SAME)


def test_worst_case_of_rounding() -> None:
    """In two dimensions, several people differ by less than one step of a byte."""
    random = np.random.default_rng(6)
    for _ in range(1500):
        angles = random.normal(size=10) * 0.1 + random.uniform(0, 2 * np.pi)
        rows = units(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        embedding = units(rows[0] + 0.02 * random.normal(size=2))
        found = build_index(rows, SMALL).shortlist(embedding)
        nearest = np.argsort(rows @ embedding)[-2:]
        assert found is None or set(nearest.tolist()) <= set(found.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_error_bounds_of_the_codes(kind: str) -> None:
    rows = crowd(kind, 500, np.random.default_rng(7))
    codes = build_index(rows, SMALL)
    kept = rows.astype(np.float64) @ codes.basis
    rounded = (np.concatenate(codes.blocks).astype(np.float64) - 128) * codes.step
    beyond = rows - kept @ codes.basis.T
    lengths_sq = np.sum(kept**2, axis=1)
    assert np.linalg.norm(kept - rounded, axis=1).max() <= codes.error <= codes.step * codes.basis.shape[1] ** 0.5 / 1.7
    assert np.linalg.norm(beyond, axis=1).max() <= codes.left_out
    assert np.ptp(lengths_sq) <= codes.spread + SAME


def test_size_of_the_shortlist() -> None:
    tuning = replace(SMALL, max_residual=3e-4)
    random = np.random.default_rng(1)
    rows = crowd("flat", 4000, random)
    codes = build_index(rows, tuning)
    assert codes.basis.shape[1] <= DIMENSION // 5
    for _ in range(20):
        found = codes.shortlist(probe("somebody", rows, random))
        assert found is not None
        assert 2 <= len(found) < 100
        assert np.all(np.diff(found) > 0)


def test_block_with_too_many_candidates() -> None:
    """One block has ten equal rows and a list of eight candidates."""
    rows = crowd("anywhere", 4000, np.random.default_rng(2))
    rows[1000:1010] = rows[1000]
    found = build_index(rows, SMALL).shortlist(rows[1000])
    assert found is not None
    assert set(range(1000, 1010)) <= set(found.tolist())


def test_gallery_of_equal_rows() -> None:
    rows = crowd("one", 400, np.random.default_rng(3))
    assert build_index(rows, SMALL).shortlist(rows[0]) is None


def test_probe_that_is_not_a_number() -> None:
    rows = crowd("anywhere", 400, np.random.default_rng(4))
    match = made(rows).nearest(np.full(DIMENSION, np.nan, np.float32))
    assert not match.distance_sq <= match.threshold_sq


@pytest.mark.parametrize("spoil", [np.nan, 1.5])
def test_row_that_is_not_a_unit_vector(spoil: float) -> None:
    rows = crowd("anywhere", 5000, np.random.default_rng(5))
    rows[4998, 3] = spoil
    with pytest.raises(ValueError, match="not of unit length"):
        build_index(rows, SMALL)
