"""Several samples of one face fused into one embedding, and which names they agree on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from edge.core.records import FloatArray, Match, Quality


@dataclass(slots=True)
class Fusion:
    """Samples that seem to show one face."""

    sum: FloatArray | None = None  # (D,) float32, of quality times embedding; None before the first sample
    samples: int = 0  # how many were added
    quality: float = 0.0  # the sum of their qualities
    votes: Counter[str] = field(default_factory=Counter)  # agreeing samples by person id

    def add(self, embedding: FloatArray, quality: Quality, match: Match, vote_slack_sq: float) -> None:
        """Take one sample; it votes for a name within `vote_slack_sq` beyond that person's threshold."""
        weighted = embedding * np.float32(quality.weight)
        self.sum = weighted if self.sum is None else self.sum + weighted
        self.samples += 1
        self.quality += quality.weight
        if match.person is not None and match.distance_sq <= match.threshold_sq + vote_slack_sq:
            self.votes[match.person.id] += 1

    @property
    def fused(self) -> FloatArray:
        """The (D,) unit vector in the direction of the weighted sum."""
        assert self.sum is not None
        return self.sum / max(math.hypot(*self.sum.tolist()), 1e-12)
