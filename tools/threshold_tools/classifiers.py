"""Classifiers that name the person on a photo, with one interface, for comparison with the classifier of a door."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge.core.records import FloatArray
from threshold_tools.stats import Reals

People = NDArray[np.intp]
UNKNOWN = -1
_PROBES, _PHOTOS = 1024, 256  # compared with all others at a time
_BINS = np.linspace(0, 4, 401)
_REJECTED_SQ = 4.0  # opposite unit vectors
_HIDDEN = 256
_STEPS = 300
_BATCH = 128
_TIMED_PROBES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One prediction for each probe."""

    people: People  # (M,) number of the most likely person
    scores: Reals  # (M,) float64, lower is nearer; the scale depends on the classifier

    def accepted_at(self, threshold: float) -> People:
        """(M,) numbers of people, UNKNOWN if the score is above the threshold."""
        return np.where(self.scores <= threshold, self.people, UNKNOWN)


class Classifier(Protocol):
    """Names people; built from (N, D) float32 unit vectors and the (N,) numbers of their people."""

    def predict(self, probes: FloatArray) -> Predictions:
        """Name the person on each of (M, D) float32 unit vectors."""
        ...

    def add(self, vectors: FloatArray, person: int) -> None:
        """Add one person from (K, D) float32 unit vectors."""
        ...


def nearest(probes: FloatArray, rows: FloatArray) -> tuple[NDArray[np.intp], Reals, Reals]:
    """Find the nearest of (N, D) unit rows for each of (M, D) unit probes, in blocks of probes.

    Returns:
        (M,) number of the nearest row, (M,) squared distance to it, 0..4, and (M,) squared distance to the next one, or
        4 without one.
    """
    found = np.zeros(len(probes), np.intp)
    best, second = np.full(len(probes), -1.0), np.full(len(probes), -1.0)
    for start in range(0, len(probes), _PROBES):
        likeness = probes[start : start + _PROBES] @ rows.T
        every = np.arange(len(likeness))
        first = likeness.argmax(axis=1)
        found[start : start + _PROBES] = first
        best[start : start + _PROBES] = likeness[every, first]
        likeness[every, first] = -1
        if len(rows) > 1:
            second[start : start + _PROBES] = likeness.max(axis=1)
    return found, np.maximum(2 - 2 * best, 0), 2 - 2 * second


def unit_means(vectors: FloatArray, counts: NDArray[np.intp]) -> FloatArray:
    """Directions of the means of consecutive groups of vectors.

    Args:
        vectors: (N, D) float32; rows of zeros are ignored.
        counts: (G,) number of vectors in each group, at least 1; their sum is N.

    Returns:
        (G, D) float32 unit rows; zeros if all vectors of a group are zeros.
    """
    sums = np.add.reduceat(vectors.astype(np.float64), np.cumsum(counts) - counts, axis=0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


class NearestCentroid:
    """Names the person with the nearest centroid, the direction of the mean of the photos, as a door does.

    The score is the squared distance to that centroid.
    """

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.people, counts = np.unique(people, return_counts=True)
        self.centroids = unit_means(vectors[order], counts)

    def predict(self, probes: FloatArray) -> Predictions:
        rows, distance_sq, _ = nearest(probes, self.centroids)
        return Predictions(self.people[rows], distance_sq)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.people = np.append(self.people, person)
        self.centroids = np.concatenate([self.centroids, unit_means(vectors, np.array([len(vectors)]))])


class KnnVote:
    """Names the person on most of the k nearest photos; a tie goes to the person with the nearest photo.

    The score is the mean squared distance of the photos of this person among the k. With k = 1 it is the squared
    distance to the nearest photo.
    """

    def __init__(self, vectors: FloatArray, people: People, *, k: int) -> None:
        self._k = k
        self._fit(vectors, people)

    def predict(self, probes: FloatArray) -> Predictions:
        if not len(probes):
            return Predictions(np.zeros(0, np.intp), np.zeros(0))
        distances_sq, rows = self._neighbours.kneighbors(
            probes
        )  # nearest first, so that the nearest photo decides a tie
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


class PairVerification:
    """Compares a probe with every enrolled photo and accepts pairs below a threshold.

    An accepted pair has its squared distance, a rejected one 4, the largest possible. The person with the lowest mean
    is named, and the mean is the score; it is 4 if no photo accepts the probe. The threshold separates the pairs of
    enrolled photos best, with the same total weight for pairs of one person and of two. Adding a person keeps it.
    """

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.samples = vectors[order]
        self.people, self.counts = np.unique(people, return_counts=True)
        self.threshold_sq = _threshold_sq(self.samples, people[order])

    def predict(self, probes: FloatArray) -> Predictions:
        named, scores = np.zeros(len(probes), np.intp), np.zeros(len(probes))
        starts = np.cumsum(self.counts) - self.counts
        for start in range(0, len(probes), _PHOTOS):
            distances_sq = np.maximum(2 - 2 * (probes[start : start + _PHOTOS] @ self.samples.T), 0)
            distances_sq[distances_sq > self.threshold_sq] = _REJECTED_SQ
            means = np.add.reduceat(distances_sq.astype(np.float64), starts, axis=1) / self.counts
            named[start : start + _PHOTOS] = means.argmin(axis=1)
            scores[start : start + _PHOTOS] = means.min(axis=1)
        return Predictions(self.people[named], scores)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.samples = np.concatenate([self.samples, vectors])
        self.people = np.append(self.people, person)
        self.counts = np.append(self.counts, len(vectors))


def _threshold_sq(vectors: FloatArray, people: People) -> float:
    """The squared distance with the largest difference between TAR and FMR over all pairs of vectors."""
    same, other = np.zeros(len(_BINS) - 1), np.zeros(len(_BINS) - 1)
    for start in range(0, len(vectors), _PHOTOS):
        distances_sq = np.clip(2 - 2 * (vectors[start : start + _PHOTOS] @ vectors[start:].T), 0, 4)
        rows, columns = np.triu_indices(len(distances_sq), 1, distances_sq.shape[1])
        mated = people[start + rows] == people[start + columns]
        between = distances_sq[rows, columns]
        same += np.histogram(between[mated], _BINS)[0]
        other += np.histogram(between[~mated], _BINS)[0]
    accepted, wrong = (np.cumsum(each) / max(each.sum(), 1) for each in (same, other))
    return float(_BINS[1 + int(np.argmax(accepted - wrong))])


class MlpClassifier:
    """Two-layer network that names the most probable person; the score is minus the logarithm of its probability.

    Every batch draws people first and then one photo of each, so that people with many photos do not dominate.
    """

    def __init__(self, vectors: FloatArray, people: People, *, seed: int = 0) -> None:
        self._vectors, self._people, self._seed = vectors, people, seed
        self._train()

    def predict(self, probes: FloatArray) -> Predictions:
        found = self.log_probabilities(probes)
        return Predictions(self.people[found.argmax(axis=1)], -found.max(axis=1))

    def add(self, vectors: FloatArray, person: int) -> None:
        self._vectors = np.concatenate([self._vectors, vectors])
        self._people = np.append(self._people, np.full(len(vectors), person))
        self._train()

    def log_probabilities(self, probes: FloatArray) -> NDArray[np.float64]:
        """(M, P) logarithms of the probabilities of each of `people` on (M, D) vectors."""
        if not len(probes):
            return np.zeros((0, len(self.people)))
        found = self._network.predict_proba(probes)[
            :, : len(self.people)
        ]  # has two columns if there is only one person
        return np.asarray(np.log(np.maximum(found, np.finfo(np.float64).tiny)), np.float64)

    def _train(self) -> None:
        from sklearn.neural_network import MLPClassifier  # imported when needed: takes a second

        rng = np.random.default_rng(self._seed)
        self.people, counts = np.unique(self._people, return_counts=True)
        order, starts = np.argsort(self._people, kind="stable"), np.cumsum(counts) - counts
        drawn = rng.integers(len(counts), size=_STEPS * _BATCH)
        rows = order[starts[drawn] + (rng.random(len(drawn)) * counts[drawn]).astype(np.intp)]
        self._network = MLPClassifier((_HIDDEN,), alpha=0, batch_size=_BATCH, shuffle=False, random_state=self._seed)
        # These products are too small for a second thread, which would wait long on a busy machine.
        with threadpool_limits(1, "blas"):
            self._network.partial_fit(self._vectors[rows].astype(np.float64), self._people[rows], classes=self.people)


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """One classifier."""

    name: str  # name in reports
    fit: Callable[
        [FloatArray, People], Classifier
    ]  # builds it from (N, D) vectors and the (N,) numbers of their people
    retrains: bool = False  # whether adding a person trains it from scratch


CLASSIFIERS = (
    ClassifierSpec("nearest centroid", NearestCentroid),  # first: the classifier of a door
    ClassifierSpec("nearest sample", partial(KnnVote, k=1)),
    ClassifierSpec("5 neighbours vote", partial(KnnVote, k=5)),
    ClassifierSpec("10 neighbours vote", partial(KnnVote, k=10)),
    ClassifierSpec("pair verification", PairVerification),
    ClassifierSpec("two-layer network", MlpClassifier, retrains=True),
)


def time_classifier(
    spec: ClassifierSpec, vectors: FloatArray, people: People, probes: FloatArray
) -> tuple[float, float, float]:
    """Measure in milliseconds: learning all people but one, adding that person, and naming one photo (median).

    Args:
        spec: classifier.
        vectors: (N, D) vectors of at least two people.
        people: (N,) numbers of their people.
        probes: (M, D) at least one vector to name.
    """
    last = people == people.max()
    started = time.perf_counter()
    classifier = spec.fit(vectors[~last], people[~last])
    learnt = time.perf_counter()
    classifier.add(vectors[last], int(people.max()))
    added = time.perf_counter()
    spent = []
    for probe in probes[:_TIMED_PROBES]:
        before = time.perf_counter()
        classifier.predict(probe[None])
        spent.append(time.perf_counter() - before)
    return 1000 * (learnt - started), 1000 * (added - learnt), 1000 * float(np.median(spent))
