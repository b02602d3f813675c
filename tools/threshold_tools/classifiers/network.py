"""A network of two layers on the embeddings, trained from scratch for every change of the people enrolled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge.core.records import FloatArray
from threshold_tools.classifiers.classifier import People, Predictions

_HIDDEN = 256
_STEPS = 300
_BATCH = 128


class MlpClassifier:
    """Names the person with the highest probability; the score is minus its logarithm, 0 for a probability of 1.

    Every batch draws people first and then one photo of each, so that people with many photos do not prevail.
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
        found = self._network.predict_proba(probes)[:, : len(self.people)]  # has two columns for one person alone
        return np.asarray(np.log(np.maximum(found, np.finfo(np.float64).tiny)), np.float64)

    def _train(self) -> None:
        from sklearn.neural_network import MLPClassifier  # imported when needed: takes a second

        rng = np.random.default_rng(self._seed)
        self.people, counts = np.unique(self._people, return_counts=True)
        order, starts = np.argsort(self._people, kind="stable"), np.cumsum(counts) - counts
        drawn = rng.integers(len(counts), size=_STEPS * _BATCH)
        rows = order[starts[drawn] + (rng.random(len(drawn)) * counts[drawn]).astype(np.intp)]
        self._network = MLPClassifier((_HIDDEN,), alpha=0, batch_size=_BATCH, shuffle=False, random_state=self._seed)
        # Products so small gain nothing from a second thread, and wait long for it where the machine is busy.
        with threadpool_limits(1, "blas"):
            self._network.partial_fit(self._vectors[rows].astype(np.float64), self._people[rows], classes=self.people)
