"""What all classifiers have in common: people to learn from, probes to name, and the answer "unknown"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.stats import Reals

People = NDArray[np.intp]
UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One answer for each probe."""

    people: People  # (M,) number of the most likely person
    scores: Reals  # (M,) float64, lower is nearer; each classifier has its own scale

    def accepted_at(self, threshold: float) -> People:
        """(M,) numbers of people, UNKNOWN where the score is above the threshold."""
        return np.where(self.scores <= threshold, self.people, UNKNOWN)


class Classifier(Protocol):
    """Names people; made from (N, D) float32 unit vectors and the (N,) numbers of their people."""

    def predict(self, probes: FloatArray) -> Predictions:
        """Name the person on each of (M, D) float32 unit vectors."""
        ...

    def add(self, vectors: FloatArray, person: int) -> None:
        """Learn one more person from (K, D) float32 unit vectors."""
        ...
