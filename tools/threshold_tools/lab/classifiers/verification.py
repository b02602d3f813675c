"""By pairs: is this photo of the same person as that one? A threshold answers; who has most such photos is named."""

from __future__ import annotations

import numpy as np

from edge.core.records import FloatArray
from threshold_tools.lab.classifiers.classifier import Answers, People

_BLOCK = 256  # photos held against all at a time
_BINS = np.linspace(0, 4, 401)
_REFUSED_SQ = 4.0  # as far as can be


class PairVerification:
    """A probe is compared with every enrolled photo, and a pair is accepted below a threshold.

    A pair counts with its squared distance where it is accepted and with 4, the farthest there is, where it is not;
    the person whose photos are nearest by this mean is named, and the mean is the score: it falls with the share of a
    person's photos that accept the probe, so that 4 says that not one does. The threshold is the one that tells most
    pairs of the enrolled photos apart, pairs of one person and pairs of two weighing the same. Adding somebody leaves
    it as it is.
    """

    def __init__(self, vectors: FloatArray, people: People) -> None:
        order = np.argsort(people, kind="stable")
        self.samples = vectors[order]
        self.people, self.counts = np.unique(people, return_counts=True)
        self.threshold_sq = _threshold_sq(self.samples, people[order])

    def name(self, probes: FloatArray) -> Answers:
        named, scores = np.zeros(len(probes), np.intp), np.zeros(len(probes))
        starts = np.cumsum(self.counts) - self.counts
        for start in range(0, len(probes), _BLOCK):
            distances_sq = np.maximum(2 - 2 * (probes[start : start + _BLOCK] @ self.samples.T), 0)
            distances_sq[distances_sq > self.threshold_sq] = _REFUSED_SQ
            means = np.add.reduceat(distances_sq.astype(np.float64), starts, axis=1) / self.counts
            named[start : start + _BLOCK] = means.argmin(axis=1)
            scores[start : start + _BLOCK] = means.min(axis=1)
        return Answers(self.people[named], scores)

    def add(self, vectors: FloatArray, person: int) -> None:
        self.samples = np.concatenate([self.samples, vectors])
        self.people = np.append(self.people, person)
        self.counts = np.append(self.counts, len(vectors))


def _threshold_sq(vectors: FloatArray, people: People) -> float:
    """The squared distance that accepts most pairs of one person and refuses most of two, both shares of one weight."""
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
