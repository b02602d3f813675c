"""How a head is trained: the losses by name, and the settings."""

from __future__ import annotations

from dataclasses import dataclass

LOSSES = ("contrastive", "triplet-random", "triplet-hard", "triplet-semihard", "arcface")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a head is trained.

    Attributes:
        steps: batches at most.
        check_every: batches between two measurements of the validation people.
        patience: measurements without a better one after which training ends.
        rate: Adam's step size; the matrix begins with ones and zeros, and those that matter change by hundredths.
        pull: weight of the squared distance (Frobenius) between the matrix and the identity.
        people: people with two photos or more, in a batch.
        photos: photos of each of those, at most.
        others: people with one photo in a batch, who are impostors to everybody.
    """

    steps: int = 1000
    check_every: int = 25
    patience: int = 12
    rate: float = 1e-4
    pull: float = 0.03
    people: int = 48
    photos: int = 4
    others: int = 64
