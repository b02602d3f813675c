"""Classifiers by distance: the nearest of people's centroids, as a door decides, or a vote of the nearest photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.classifiers.classifier import People, Predictions
from threshold_tools.stats import Reals

_BLOCK = 1024  # probes


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest row of each probe."""

    rows: NDArray[np.intp]  # (M,) its number
    distance_sq: Reals  # (M,) float64 squared distance to it, 0..4
    runner_up_sq: Reals  # (M,) float64 squared distance to the next one; 4 where there is none


def nearest(probes: FloatArray, rows: FloatArray) -> Nearest:
    """Find the nearest of (N, D) unit rows for each of (M, D) unit probes, a block of probes at a time."""
    found = np.zeros(len(probes), np.intp)
    best, second = np.full(len(probes), -1.0), np.full(len(probes), -1.0)
    for start in range(0, len(probes), _BLOCK):
        likeness = probes[start : start + _BLOCK] @ rows.T
        every = np.arange(len(likeness))
        first = likeness.argmax(axis=1)
        found[start : start + _BLOCK] = first
        best[start : start + _BLOCK] = likeness[every, first]
        likeness[every, first] = -1
        if len(rows) > 1:
            second[start : start + _BLOCK] = likeness.max(axis=1)
    return Nearest(found, np.maximum(2 - 2 * best, 0), 2 - 2 * second)


def unit_means(vectors: FloatArray, counts: NDArray[np.intp]) -> FloatArray:
    """Directions of the means of consecutive groups of vectors.

    Args:
        vectors: (N, D) float32; rows of zeros add nothing.
        counts: (G,) vectors in each group, one or more; their sum is N.

    Returns:
        (G, D) float32 unit rows; zeros where all vectors of a group are.
    """
    starts = np.concatenate([[0], np.cumsum(counts[:-1])]).astype(np.intp)
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


class NearestCentroid:
    """Names the person whose centroid, the direction of the mean of their photos, is nearest, as a door does.

    The score is the squared distance to that centroid.
    """

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.people, counts = np.unique(people, return_counts=True)
        self.centroids = unit_means(vectors[order], counts)

    def predict(self, probes: FloatArray) -> Predictions:
        found = nearest(probes, self.centroids)
        return Predictions(self.people[found.rows], found.distance_sq)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.people = np.append(self.people, person)
        self.centroids = np.concatenate([self.centroids, unit_means(vectors, np.array([len(vectors)]))])


class KnnVote:
    """Names the person on most of the k nearest photos; of several such people the one with the nearest photo.

    The score is the mean squared distance of those of the k photos that show this person. With k = 1 that is the
    person on the nearest photo, and its squared distance.
    """

    def __init__(self, vectors: FloatArray, people: People, *, k: int) -> None:
        self._k = k
        self._fit(vectors, people)

    def predict(self, probes: FloatArray) -> Predictions:
        if not len(probes):
            return Predictions(np.zeros(0, np.intp), np.zeros(0))
        distances_sq, rows = self._neighbours.kneighbors(probes)  # nearest first, so that the first of equals wins
        voters = self._people[rows]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        chosen = voters[np.arange(len(voters)), votes.argmax(axis=1)]
        return Predictions(chosen, np.average(distances_sq, axis=1, weights=voters == chosen[:, None]))

    def add(self, vectors: FloatArray, person: int) -> None:
        self._fit(np.concatenate([self._vectors, vectors]), np.append(self._people, np.full(len(vectors), person)))

    def _fit(self, vectors: FloatArray, people: People) -> None:
        from sklearn.neighbors import NearestNeighbors  # imported when needed: takes a second

        self._vectors, self._people = vectors, people
        k = min(self._k, len(vectors))
        self._neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="sqeuclidean").fit(vectors)
