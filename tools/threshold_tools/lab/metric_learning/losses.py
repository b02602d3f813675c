"""Losses on unit vectors: contrastive, triplet and ArcFace. Distances are squared, 2 - 2 cosine, 0 to 4.

`collapsed` is the value of a loss when all vectors are equal: training that ends there has failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from threshold_tools.embeddings import LabelledEmbeddings

_MIN_DISTANCE_SQ = 1e-12  # below this the distance of two vectors has no derivative


@dataclass(frozen=True, slots=True, eq=False)
class BatchLoss:
    """A loss on one batch."""

    value: Tensor  # a scalar with its derivative
    active: float  # share of the pairs, triplets or photos that still change the vectors


class Loss(Protocol):
    """A loss on (M, D) unit vectors and the (M,) numbers of their people."""

    @property
    def collapsed(self) -> float:
        """The value when all vectors are equal."""

    @property
    def parameters(self) -> list[Tensor]:
        """Parameters of the loss that are trained, too."""
        return []

    def measure(self, vectors: Tensor, people: Tensor, rng: torch.Generator) -> BatchLoss:
        """Measure one batch."""


@dataclass(frozen=True, eq=False)
class Contrastive(Loss):
    """Hadsell, Chopra and LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", equation 4.

    Mean d^2 over pairs of one person plus mean max(0, margin - d)^2 over pairs of two people; d is the distance, not
    squared. Both kinds have the same weight, although the second is far more frequent.
    """

    margin: float = 1.2

    @property
    def collapsed(self) -> float:
        return self.margin**2

    def measure(self, vectors: Tensor, people: Tensor, rng: torch.Generator) -> BatchLoss:
        one, two = torch.triu_indices(len(people), len(people), 1)
        gaps_sq, same = squared_distances(vectors)[one, two], people[one] == people[two]
        short = functional.relu(self.margin - gaps_sq[~same].clamp_min(_MIN_DISTANCE_SQ).sqrt())
        return BatchLoss(_mean(gaps_sq[same]) + _mean(short**2), float(_mean((short > 0).double())))


@dataclass(frozen=True, eq=False)
class Triplet(Loss):
    """Schroff, Kalenichenko and Philbin 2015, "FaceNet", equation 3: mean of max(0, d^2(a, p) - d^2(a, n) + margin).

    Every ordered pair of one person in the batch is anchor and positive once; `mining` finds the negative.
    """

    mining: str
    margin: float = 0.2

    @property
    def collapsed(self) -> float:
        return self.margin

    def measure(self, vectors: Tensor, people: Tensor, rng: torch.Generator) -> BatchLoss:
        gaps_sq = squared_distances(vectors)
        anchor, positive, negative = mine_triplets(gaps_sq.detach(), people, self.margin, self.mining, rng)
        excess = gaps_sq[anchor, positive] - gaps_sq[anchor, negative] + self.margin
        return BatchLoss(_mean(functional.relu(excess)), float(_mean((excess > 0).double())))


@dataclass(frozen=True, eq=False)
class ArcFace:
    """Deng, Guo, Xue and Zafeiriou 2019, "ArcFace", equation 3: cross-entropy over people with an angular margin.

    The logit of the own person is scale * cos(angle + margin). Beyond 180 degrees, where that would increase again, it
    is scale * (cos(angle) - margin * sin(margin)), as in the authors' code.
    """

    prototypes: Tensor  # (C, D), of any length
    prototype_of: Tensor  # (P,) row of each person's prototype; -1 for people without one, who are left out
    margin: float = 0.3  # rad
    scale: float = 16.0  # of the logits

    @property
    def collapsed(self) -> float:
        others = len(self.prototypes) - 1
        return math.log1p(others * math.exp(self.scale * (1 - math.cos(self.margin))))

    @property
    def parameters(self) -> list[Tensor]:
        return [self.prototypes]

    def measure(self, vectors: Tensor, people: Tensor, rng: torch.Generator) -> BatchLoss:
        known = self.prototype_of[people] >= 0
        own = self.prototype_of[people[known]][:, None]
        cosines = vectors[known] @ functional.normalize(self.prototypes).T
        cosine = cosines.gather(1, own).clamp(-1 + 1e-9, 1 - 1e-9)
        beyond = cosine <= -math.cos(self.margin)
        widened = torch.where(
            beyond, cosine - self.margin * math.sin(self.margin), torch.cos(torch.acos(cosine) + self.margin)
        )
        logits = self.scale * cosines.scatter(1, own, widened)
        losses = functional.cross_entropy(logits, own[:, 0], reduction="none")
        return BatchLoss(_mean(losses), float(_mean((losses > math.log(2)).double())))


def make_loss(name: str, photos: LabelledEmbeddings) -> Loss:
    """The loss with one of the names in `LOSSES`, for the people of these photos.

    The prototypes of ArcFace begin as the mean vectors of people with two photos or more; other people have none.
    """
    if name == "contrastive":
        return Contrastive()
    if name != "arcface":
        return Triplet(name.removeprefix("triplet-"))
    several = [number for number, rows in enumerate(photos.rows_of) if len(rows) > 1]
    vectors = torch.from_numpy(photos.vectors).double()
    prototypes = torch.stack([vectors[photos.rows_of[person]].mean(dim=0) for person in several])
    prototype_of = torch.full((len(photos.names),), -1)
    prototype_of[several] = torch.arange(len(several))
    return ArcFace(functional.normalize(prototypes).requires_grad_(), prototype_of)


def mine_triplets(
    gaps_sq: Tensor, people: Tensor, margin: float, mining: str, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Find one negative for every anchor and positive of a batch.

    Mining "random" takes any photo of another person. "hard" takes the nearest of them, which collapses most often.
    "semihard" takes the nearest that is farther than the positive by less than the margin (Schroff et al. 2015, section
    3.2); pairs without one are left out.

    Args:
        gaps_sq: (M, M) squared distances.
        people: (M,) number of each row's person.
        margin: squared distance.
        mining: "random", "hard" or "semihard".
        rng: for random mining.

    Returns:
        Three tensors (T,) of rows: anchors, positives, negatives.
    """
    same = people[:, None] == people[None, :]
    anchor, positive = torch.nonzero(same & ~torch.eye(len(people), dtype=torch.bool), as_tuple=True)
    order = torch.rand((len(anchor), len(people)), generator=rng) if mining == "random" else gaps_sq[anchor]
    left_out = same[anchor]
    if mining == "semihard":
        own = gaps_sq[anchor, positive][:, None]
        left_out = left_out | (order <= own) | (order >= own + margin)
    nearest, negative = order.masked_fill(left_out, math.inf).min(dim=1)
    found = nearest.isfinite()
    return anchor[found], positive[found], negative[found]


def squared_distances(vectors: Tensor) -> Tensor:
    """(M, M) squared distances of unit rows, 0..4."""
    return (2 - 2 * vectors @ vectors.T).clamp(0, 4)


def _mean(values: Tensor) -> Tensor:
    """The mean; 0 without values."""
    return values.sum() / max(values.numel(), 1)
