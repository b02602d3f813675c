"""What a head can be trained for: three families of losses on unit vectors, each with its gradient written out.

Everything is float64 and a function of the cosines S = Y Y', because the squared distance of unit vectors is 2 - 2 S.
A loss over people who are all mapped to one vector has a value of its own, `collapsed`: training that ends there has
learnt nothing, however steady its loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from threshold_tools.lab.metric_learning.mining import Mining, mine_triplets

Reals = NDArray[np.float64]
People = NDArray[np.intp]

_LEAST_SQ = 1e-12  # below this two vectors are one, and their distance has no direction


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A loss on one batch.

    Attributes:
        value: the loss.
        gradient: (M, D) its derivative by the unit vectors, as if each coordinate were free.
        active: share of the pairs, triplets or photos that still pull on the vectors.
        own: (C, D) its derivative by the loss's own parameters; (0, 0) where it has none.
    """

    value: float
    gradient: Reals
    active: float
    own: Reals = field(default_factory=lambda: np.zeros((0, 0)))


class Loss(Protocol):
    """A loss on a batch of unit vectors (M, D) and the number of each one's person."""

    @property
    def collapsed(self) -> float:
        """The value when all vectors are alike."""

    @property
    def parameters(self) -> Reals:
        """(C, D) what the loss itself learns, changed in place by the optimiser; (0, 0) for nothing."""

    def measure(self, vectors: Reals, people: People, rng: np.random.Generator) -> Measured:
        """Value and gradient on one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Contrastive:
    """Hadsell, Chopra and LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", equation 4.

    Mean d^2 over pairs of one person plus mean max(0, margin - d)^2 over pairs of two, so that both kinds weigh the
    same although the second is far more frequent; d is the distance, not squared.
    """

    margin: float = 1.2
    parameters: Reals = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def collapsed(self) -> float:
        return self.margin**2

    def measure(self, vectors: Reals, people: People, rng: np.random.Generator) -> Measured:
        distances_sq = squared_distances(vectors)
        pair = np.triu(np.ones(distances_sq.shape, bool), 1)
        same = people[:, None] == people[None, :]
        own, other = pair & same, pair & ~same
        distances = np.sqrt(np.maximum(distances_sq, _LEAST_SQ))
        short = np.where(other, np.maximum(self.margin - distances, 0.0), 0.0)
        owns, others = max(int(own.sum()), 1), max(int(other.sum()), 1)
        value = float(distances_sq[own].sum() / owns + (short**2).sum() / others)
        by_cosine = np.where(own, -2.0 / owns, 0.0) + np.where(short > 0, 2 * short / distances, 0.0) / others
        return Measured(value, (by_cosine + by_cosine.T) @ vectors, float((short > 0).sum() / others))


@dataclass(frozen=True, slots=True, eq=False)
class Triplet:
    """Schroff, Kalenichenko and Philbin 2015, "FaceNet", equation 3: mean of max(0, d^2(a, p) - d^2(a, n) + margin).

    Every ordered pair of one person in the batch is anchor and positive once; `mining` finds the negative.
    """

    mining: Mining
    margin: float = 0.2
    parameters: Reals = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def collapsed(self) -> float:
        return self.margin

    def measure(self, vectors: Reals, people: People, rng: np.random.Generator) -> Measured:
        distances_sq = squared_distances(vectors)
        anchor, positive, negative = mine_triplets(distances_sq, people, self.margin, self.mining, rng)
        if not len(anchor):
            return Measured(0.0, np.zeros_like(vectors), 0.0)
        excess = distances_sq[anchor, positive] - distances_sq[anchor, negative] + self.margin
        active = excess > 0
        by_cosine = np.zeros_like(distances_sq)
        np.add.at(by_cosine, (anchor[active], positive[active]), -2.0 / len(anchor))
        np.add.at(by_cosine, (anchor[active], negative[active]), 2.0 / len(anchor))
        value = float(np.maximum(excess, 0.0).mean())
        return Measured(value, (by_cosine + by_cosine.T) @ vectors, float(active.mean()))


@dataclass(frozen=True, slots=True, eq=False)
class ArcFace:
    """Deng, Guo, Xue and Zafeiriou 2019, "ArcFace", equation 3: cross-entropy over people, the own angle widened.

    The logit of the own person is scale * cos(angle + margin). Where that would pass 180 degrees, and turn back, it is
    scale * (cos(angle) - margin * sin(margin)), as in the authors' code.

    Attributes:
        parameters: (C, D) prototypes, of any length.
        prototype_of: (P,) the row of each person's prototype, or -1 for people who have none and are left out.
        margin: rad.
        scale: of the logits.
    """

    parameters: Reals
    prototype_of: People
    margin: float = 0.3
    scale: float = 16.0

    @property
    def collapsed(self) -> float:
        others = len(self.parameters) - 1
        return math.log1p(others * math.exp(self.scale * (1 - math.cos(self.margin))))

    def measure(self, vectors: Reals, people: People, rng: np.random.Generator) -> Measured:
        rows = np.flatnonzero(self.prototype_of[people] >= 0)
        if not len(rows):
            return Measured(0.0, np.zeros_like(vectors), 0.0, np.zeros_like(self.parameters))
        lengths = np.linalg.norm(self.parameters, axis=1, keepdims=True)
        prototypes = self.parameters / lengths
        inputs, own = vectors[rows], (np.arange(len(rows)), self.prototype_of[people[rows]])
        cosines = inputs @ prototypes.T
        widened, slope = self._widen(cosines[own])
        logits = self.scale * cosines
        logits[own] = self.scale * widened
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        shares /= shares.sum(axis=1, keepdims=True)
        value = float(-np.log(np.maximum(shares[own], 1e-300)).mean())
        active = float((shares[own] < 0.5).mean())
        shares[own] -= 1.0
        by_cosine = shares * (self.scale / len(rows))
        by_cosine[own] *= slope
        gradient = np.zeros_like(vectors)
        gradient[rows] = by_cosine @ prototypes
        return Measured(value, gradient, active, through_length(by_cosine.T @ inputs, prototypes, lengths))

    def _widen(self, cosine: Reals) -> tuple[Reals, Reals]:
        """cos(angle + margin), and its derivative by cos(angle)."""
        cosine = np.clip(cosine, -1 + 1e-9, 1 - 1e-9)
        sine = np.sqrt(1 - cosine**2)
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        slope = math.cos(self.margin) + cosine / sine * math.sin(self.margin)
        ends = cosine <= -math.cos(self.margin)
        straight = cosine - self.margin * math.sin(self.margin)
        return np.where(ends, straight, turned), np.where(ends, 1.0, slope)


def squared_distances(vectors: Reals) -> Reals:
    """(M, M) squared distances of unit rows, 0..4."""
    return np.clip(2 - 2 * vectors @ vectors.T, 0.0, 4.0)


def through_length(gradient: Reals, units: Reals, lengths: Reals) -> Reals:
    """From the derivative by unit rows to the derivative by the rows before they were cut to length.

    Args:
        gradient, units: (M, D).
        lengths: (M, 1) of the rows before.
    """
    along = np.sum(gradient * units, axis=1, keepdims=True)
    return np.asarray((gradient - along * units) / lengths, np.float64)
