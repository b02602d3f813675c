"""Spherical k-means (Dhillon and Modha 2001): centres are directions of means, as the door's centroids are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from edge.core.records import FloatArray
from threshold_tools.lab.classifiers.nearest import nearest, unit_means

_ROUNDS = 20
_CANDIDATES = 4  # drawn for each centre to start from


def kmeans(vectors: FloatArray, k: int, seed: int) -> NDArray[np.intp]:
    """The cluster, 0..k-1, of each of (N, D) float32 unit vectors, k being 1..N; none is empty."""
    with threadpool_limits(1, "blas"):  # a second thread gains nothing on products so small
        centres = vectors[_spread(vectors, k, np.random.default_rng(seed))]
    labels = np.full(len(vectors), -1, np.intp)
    for _ in tqdm(range(_ROUNDS), desc="k-means", unit=" rounds", disable=None):
        found = nearest(vectors, centres)
        moved = _filled(found.rows, found.distance_sq, k)
        if np.array_equal(moved, labels):
            break
        labels = moved
        centres = unit_means(vectors[np.argsort(labels, kind="stable")], np.bincount(labels, minlength=k))
    return labels


def _spread(vectors: FloatArray, k: int, rng: np.random.Generator) -> list[int]:
    """Rows to start from, one by one, a farther one more probably: of some drawn the one that helps most.

    Greedy k-means++: Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
    """
    rows = [int(rng.integers(len(vectors)))]
    near_sq = _distances_sq(vectors, rows)[:, 0]
    while len(rows) < k:
        sums = np.cumsum(near_sq, dtype=np.float64)
        if sums[-1] <= 0:  # all that are left equal one that was drawn
            rows += np.setdiff1d(np.arange(len(vectors)), rows)[: k - len(rows)].tolist()
            break
        places = np.searchsorted(sums, rng.random(_CANDIDATES) * sums[-1], side="right")
        drawn = np.minimum(places, len(vectors) - 1).tolist()
        left_sq = np.minimum(near_sq[:, None], _distances_sq(vectors, drawn))
        best = int(left_sq.sum(axis=0).argmin())
        rows.append(drawn[best])
        near_sq = left_sq[:, best]
    return rows


def _distances_sq(vectors: FloatArray, rows: list[int]) -> FloatArray:
    """(N, R) from all to some; to itself 0, whatever the rounding."""
    distances_sq: FloatArray = np.maximum(2 - 2 * (vectors @ vectors[rows].T), 0)
    distances_sq[rows, np.arange(len(rows))] = 0
    return distances_sq


def _filled(labels: NDArray[np.intp], distances_sq: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Give every empty cluster the vector that lies farthest from its centre and leaves no cluster empty."""
    counts = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(counts == 0)
    if not len(empty):
        return labels
    labels = labels.copy()
    farthest = iter(np.argsort(-distances_sq, kind="stable").tolist())
    for cluster in empty.tolist():
        row = next(row for row in farthest if counts[labels[row]] > 1)
        counts[labels[row]] -= 1
        labels[row], counts[cluster] = cluster, 1
    return labels
