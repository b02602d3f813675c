"""Classifier by pairs: does this photo show the same person as that one? The person with most such photos is named."""

from __future__ import annotations

import numpy as np

from edge.core.records import FloatArray
from threshold_tools.classifiers.classifier import People, Predictions

_BLOCK = 256  # photos
_BINS = np.linspace(0, 4, 401)
_REJECTED_SQ = 4.0  # opposite unit vectors


class PairVerification:
    """Compares a probe with every enrolled photo and accepts pairs below a threshold.

    An accepted pair counts with its squared distance, a rejected one with 4, the farthest there is. The person with the
    lowest mean is named, and the mean is the score: it falls with the share of the person's photos that accept the
    probe; 4 says that none does. The threshold separates the pairs of enrolled photos best, pairs of one person and
    pairs of two having the same weight. Adding a person leaves it as it is.
    """

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.samples = vectors[order]
        self.people, self.counts = np.unique(people, return_counts=True)
        self.threshold_sq = _threshold_sq(self.samples, people[order])

    def predict(self, probes: FloatArray) -> Predictions:
        named, scores = np.zeros(len(probes), np.intp), np.zeros(len(probes))
        starts = np.cumsum(self.counts) - self.counts
        for start in range(0, len(probes), _BLOCK):
            distances_sq = np.maximum(2 - 2 * (probes[start : start + _BLOCK] @ self.samples.T), 0)
            distances_sq[distances_sq > self.threshold_sq] = _REJECTED_SQ
            means = np.add.reduceat(distances_sq.astype(np.float64), starts, axis=1) / self.counts
            named[start : start + _BLOCK] = means.argmin(axis=1)
            scores[start : start + _BLOCK] = means.min(axis=1)
        return Predictions(self.people[named], scores)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.samples = np.concatenate([self.samples, vectors])
        self.people = np.append(self.people, person)
        self.counts = np.append(self.counts, len(vectors))


def _threshold_sq(vectors: FloatArray, people: People) -> float:
    """The squared distance with the largest difference between TAR and FMR over all pairs of vectors."""
    same, other = np.zeros(len(_BINS) - 1), np.zeros(len(_BINS) - 1)
    for start in range(0, len(vectors), _BLOCK):
        distances_sq = np.clip(2 - 2 * (vectors[start : start + _BLOCK] @ vectors[start:].T), 0, 4)
        rows, columns = np.triu_indices(len(distances_sq), 1, distances_sq.shape[1])
        mated = people[start + rows] == people[start + columns]
        between = distances_sq[rows, columns]
        same += np.histogram(between[mated], _BINS)[0]
        other += np.histogram(between[~mated], _BINS)[0]
    accepted, wrong = (np.cumsum(each) / max(each.sum(), 1) for each in (same, other))
    return float(_BINS[1 + int(np.argmax(accepted - wrong))])
