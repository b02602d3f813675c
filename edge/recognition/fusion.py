"""Fuses samples of one face into one embedding and counts the person that each sample votes for."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from edge.core.records import FloatArray, Match, Quality


@dataclass(slots=True)
class Fusion:
    """Fused samples of one face."""

    sum: FloatArray | None = None  # (D,) float32, sum of weight times embedding; None before the first sample
    samples: int = 0  # number of added samples
    quality: float = 0.0  # sum of their weights
    votes: Counter[str] = field(default_factory=Counter)  # agreeing samples by person id

    def add(self, embedding: FloatArray, quality: Quality, match: Match, vote_slack_sq: float) -> None:
        """Add one sample; it votes for its nearest person if within that threshold plus `vote_slack_sq`."""
        weighted = embedding * np.float32(quality.weight)
        self.sum = weighted if self.sum is None else self.sum + weighted
        self.samples += 1
        self.quality += quality.weight
        if match.person is not None and match.distance_sq <= match.threshold_sq + vote_slack_sq:
            self.votes[match.person.id] += 1

    @property
    def fused(self) -> FloatArray:
        """Fused embedding, (D,) unit vector."""
        assert self.sum is not None
        return self.sum / max(math.hypot(*self.sum.tolist()), 1e-12)
