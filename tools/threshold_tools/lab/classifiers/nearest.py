"""By the nearest one: of people's centroids, which is the door's way, of single photos, or of several with a vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.lab.classifiers.classifier import Answers, People, Reals

_BLOCK = 1024  # probes held against everything at a time


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """For each probe the nearest row.

    Attributes:
        rows: (M,) which.
        distance_sq: (M,) float64 squared distance to it, 0..4.
        runner_up_sq: (M,) float64 squared distance to the next one; 4 where there is none.
    """

    rows: NDArray[np.intp]
    distance_sq: Reals
    runner_up_sq: Reals


def nearest(probes: FloatArray, rows: FloatArray) -> Nearest:
    """Hold every probe (M, D) against every row (N, D), unit vectors all, a block at a time."""
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
    """The directions of the means of groups of vectors that follow each other.

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
    """The person whose centroid, the direction of the mean of their photos, is nearest; its squared distance."""

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.people, counts = np.unique(people, return_counts=True)
        self.centroids = unit_means(vectors[order], counts)

    def name(self, probes: FloatArray) -> Answers:
        found = nearest(probes, self.centroids)
        return Answers(self.people[found.rows], found.distance_sq)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.people = np.append(self.people, person)
        self.centroids = np.concatenate([self.centroids, unit_means(vectors, np.array([len(vectors)]))])


class NearestSample:
    """The person on the nearest enrolled photo; its squared distance."""

    def __init__(self, vectors: FloatArray, people: People) -> None:
        self.samples, self.people = vectors, people

    def name(self, probes: FloatArray) -> Answers:
        found = nearest(probes, self.samples)
        return Answers(self.people[found.rows], found.distance_sq)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.samples, self.people = _appended(self.samples, self.people, vectors, person)


class KnnVote:
    """The person on most of the k nearest photos, of several such the one with the nearest photo.

    The score is the mean squared distance of those of the k photos that show this person.
    """

    def __init__(self, vectors: FloatArray, people: People, *, k: int) -> None:
        self.samples, self.people = vectors, people
        self._k = k

    def name(self, probes: FloatArray) -> Answers:
        parts = [self._vote(probes[start : start + _BLOCK]) for start in range(0, len(probes), _BLOCK)]
        if not parts:
            return Answers(np.zeros(0, np.intp), np.zeros(0))
        return Answers(np.concatenate([part.people for part in parts]), np.concatenate([part.scores for part in parts]))

    def add(self, vectors: FloatArray, person: int) -> None:
        self.samples, self.people = _appended(self.samples, self.people, vectors, person)

    def _vote(self, probes: FloatArray) -> Answers:
        k = min(self._k, len(self.samples))
        likeness = probes @ self.samples.T
        rows = np.argpartition(likeness, -k, axis=1)[:, -k:]
        near = np.take_along_axis(likeness, rows, axis=1)
        order = np.argsort(-near, axis=1, kind="stable")  # nearest first, so that the first of equals wins a vote
        near, voters = np.take_along_axis(near, order, axis=1), self.people[np.take_along_axis(rows, order, axis=1)]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        chosen = voters[np.arange(len(voters)), votes.argmax(axis=1)]
        mine = voters == chosen[:, None]
        distances_sq = np.maximum(2 - 2 * near.astype(np.float64), 0)
        return Answers(chosen, np.where(mine, distances_sq, 0).sum(axis=1) / mine.sum(axis=1))


def _appended(samples: FloatArray, people: People, vectors: FloatArray, person: int) -> tuple[FloatArray, People]:
    return np.concatenate([samples, vectors]), np.append(people, np.full(len(vectors), person))
