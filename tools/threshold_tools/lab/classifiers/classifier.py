"""What every way of naming people has in common: people to learn from, probes to name, and an answer of "unknown"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray

Reals = NDArray[np.float64]
People = NDArray[np.intp]
UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One answer for each probe.

    Attributes:
        people: (M,) who it is, if it is anybody known.
        scores: (M,) float64, lower is nearer; its scale is each classifier's own.
    """

    people: People
    scores: Reals

    def accepted_at(self, limit: float) -> People:
        """(M,) who it is, UNKNOWN where the score is above the limit."""
        return np.where(self.scores <= limit, self.people, UNKNOWN)


class Classifier(Protocol):
    """Names people whom it has learnt; made from (N, D) float32 unit vectors and (N,) numbers of people."""

    def name(self, probes: FloatArray) -> Answers:
        """Name the people on (M, D) float32 unit vectors, one photo each."""
        ...

    def add(self, vectors: FloatArray, person: int) -> None:
        """Learn somebody new from (K, D) float32 unit vectors."""
        ...


def threshold_for_fpir(strangers: Reals, fpir: float) -> float:
    """The largest limit within which no more than a share `fpir` of strangers' (M,) scores falls."""
    allowed = math.floor(fpir * len(strangers) + 1e-9)
    if allowed >= len(strangers):
        return math.inf
    return float(np.nextafter(np.partition(strangers, allowed)[allowed], -np.inf))
