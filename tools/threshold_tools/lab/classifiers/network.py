"""A network of two layers on the embeddings, trained anew for every change of who is enrolled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge.core.records import FloatArray
from threshold_tools.lab.classifiers.classifier import Answers, People

Array = NDArray[np.float32 | np.float64]

HIDDEN = 256
STEPS = 300
BATCH = 128
RATE = 3e-3  # of learning, falling to nothing over the second half of the steps
_DECAYS = (0.9, 0.999)  # Adam's, of the mean gradient and of its square
_TINY = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Of D inputs, H hidden units and P people, or the gradients for them.

    Attributes:
        inner: (D, H).
        inner_bias: (H,).
        outer: (H, P).
        outer_bias: (P,).
    """

    inner: Array
    inner_bias: Array
    outer: Array
    outer_bias: Array

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        return self.inner, self.inner_bias, self.outer, self.outer_bias


def log_probabilities(weights: Weights, vectors: Array) -> Array:
    """(M, P) logarithms of the chances, by the network, that (M, D) vectors show each person."""
    return _log_chances(weights, _hidden(weights, vectors))


def loss_and_gradients(weights: Weights, vectors: Array, own: People) -> tuple[float, Weights]:
    """The mean cross-entropy of (M, D) vectors of people `own` (M,), 0..P-1, and how it changes with each weight."""
    hidden = _hidden(weights, vectors)
    chances = _log_chances(weights, hidden)
    rows = np.arange(len(own))
    loss = -float(chances[rows, own].mean())
    by_logit = np.exp(chances)
    by_logit[rows, own] -= 1
    by_logit /= len(own)
    by_hidden = (by_logit @ weights.outer.T) * (hidden > 0)
    gradients = Weights(vectors.T @ by_hidden, by_hidden.sum(axis=0), hidden.T @ by_logit, by_logit.sum(axis=0))
    return loss, gradients


def train(vectors: FloatArray, own: People, seed: int) -> Weights:
    """Train on (N, D) vectors of the people in columns `own` (N,), 0..P-1, each of whom has one or more.

    Every batch draws people first and then one photo of each, so that the much photographed do not prevail.
    Adam: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization". First weights: He et al. 2015.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(own)
    order, starts = np.argsort(own, kind="stable"), np.cumsum(counts) - counts
    weights = Weights(
        _drawn(rng, vectors.shape[1], HIDDEN, 2.0),
        np.zeros(HIDDEN, np.float32),
        _drawn(rng, HIDDEN, len(counts), 1.0),
        np.zeros(len(counts), np.float32),
    )
    means = [np.zeros_like(array) for array in weights.arrays]
    squares = [np.zeros_like(array) for array in weights.arrays]
    for step in range(1, STEPS + 1):
        people = rng.integers(len(counts), size=BATCH)
        rows = order[starts[people] + (rng.random(BATCH) * counts[people]).astype(np.intp)]
        gradients = loss_and_gradients(weights, vectors[rows], people)[1]
        rate = RATE * min(1.0, 2 * (1 - step / STEPS))
        for place, gradient in enumerate(gradients.arrays):
            means[place] += (1 - _DECAYS[0]) * (gradient - means[place])
            squares[place] += (1 - _DECAYS[1]) * (gradient**2 - squares[place])
            straight = means[place] / (1 - _DECAYS[0] ** step)
            even = squares[place] / (1 - _DECAYS[1] ** step)
            np.subtract(weights.arrays[place], rate * straight / (np.sqrt(even) + _TINY), out=weights.arrays[place])
    return weights


class Network:
    """The person to whom the network gives the best chance; the score is minus its logarithm, 0 where it is sure."""

    def __init__(self, vectors: FloatArray, people: People, *, seed: int = 0) -> None:
        self._vectors, self._people, self._seed = vectors, people, seed
        self._train()

    def name(self, probes: FloatArray) -> Answers:
        chances = log_probabilities(self.weights, probes)
        return Answers(self.people[chances.argmax(axis=1)], -chances.max(axis=1).astype(np.float64))

    def add(self, vectors: FloatArray, person: int) -> None:
        self._vectors = np.concatenate([self._vectors, vectors])
        self._people = np.append(self._people, np.full(len(vectors), person))
        self._train()

    def _train(self) -> None:
        self.people, own = np.unique(self._people, return_inverse=True)
        # Products so small gain nothing by a second thread, and wait long for it where the machine is busy.
        with threadpool_limits(1, "blas"):
            self.weights = train(self._vectors, own.reshape(-1), self._seed)


def _hidden(weights: Weights, vectors: Array) -> Array:
    return np.asarray(np.maximum(vectors @ weights.inner + weights.inner_bias, 0))


def _log_chances(weights: Weights, hidden: Array) -> Array:
    logits = hidden @ weights.outer + weights.outer_bias
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _drawn(rng: np.random.Generator, inputs: int, outputs: int, gain: float) -> FloatArray:
    return np.asarray(rng.normal(size=(inputs, outputs)) * np.sqrt(gain / inputs), np.float32)
