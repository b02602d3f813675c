"""Fit of the lower tail of impostor distances, which gives the rate of very similar strangers.

Peaks over threshold (Coles 2001, "An Introduction to Statistical Modeling of Extreme Values", chapter 4): the nearest
tenth of the distances is kept. The depth y of each below the cut u follows a generalised Pareto distribution,

    P(x < u - y) = zeta * (1 + shape * y / scale) ** (-1 / shape),        zeta * exp(-y / scale) for shape 0,

where zeta is the share kept. Scale and shape come from probability-weighted moments (Hosking and Wallis 1987,
"Parameter and Quantile Estimation for the Generalized Pareto Distribution", Technometrics 29, equations 4 and 5). They
are closed formulas, stable in small samples, and accept weights: every stranger has the same weight, regardless of the
number of photos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from threshold_tools.stats import RankedScores, Reals

KEPT = 0.1  # share of the attempts in the tail; 0.05 was less stable, and 0.2 less accurate
FEWEST = 30  # people in the tail; with fewer, the share is larger
# A free shape varies so much between samples that it dominates the result beyond 1 in 1000; a thin tail (negative
# shape) predicts too few false accepts there. Close to exponential was accurate on people outside the fit.
SHAPE_RANGE = (-0.05, 0.05)


@dataclass(frozen=True, slots=True)
class GpdTail:
    """A fitted lower tail, valid below `cut`."""

    cut: float  # upper end of the tail, in the unit of the values (squared distance)
    kept: float  # share of all values below it
    scale: float  # in the unit of the values
    shape: float  # 0 is exponential, positive heavier

    def shares_below(self, values: Reals | float) -> Reals:
        """Share of all values below each of `values`, which are at most `cut`."""
        steps = np.maximum(self.cut - values, 0.0) / self.scale
        if abs(self.shape) < 1e-9:
            return np.asarray(self.kept * np.exp(-steps))
        return np.asarray(self.kept * np.maximum(1 + self.shape * steps, 0.0) ** (-1 / self.shape))

    def value_at(self, share: float) -> float:
        """The value below which this share of all values is, for a share of at most `kept`."""
        ratio = min(share / self.kept, 1.0)
        if abs(self.shape) < 1e-9:
            return self.cut + self.scale * math.log(ratio)
        return self.cut - self.scale / self.shape * (math.pow(ratio, -self.shape) - 1)


def fit_tail(ranked: RankedScores, weights: Reals, people: int) -> GpdTail:
    """Fit the lower tail of some values.

    Args:
        ranked: (N,) values, at least two.
        weights: (N,) weight of each value in the original order, sum 1.
        people: number of strangers.
    """
    values, ordered = ranked.scores, weights[ranked.order]
    cumulated = np.cumsum(ordered)
    place = int(np.searchsorted(cumulated, max(KEPT, FEWEST / people), side="right"))
    place = min(max(place, 1), len(values) - 1)
    while place < len(values) - 1 and not values[place] > values[0]:
        place += 1  # many equal values: extend the tail until it can be fitted
    cut, kept = float(values[place]), float(cumulated[place - 1])
    depths: Reals = np.asarray(cut - values[:place][::-1], np.float64)
    scale, shape = _probability_weighted_moments(depths, ordered[:place][::-1] / kept)
    return GpdTail(cut, kept, scale, shape)


def _probability_weighted_moments(depths: Reals, shares: Reals) -> tuple[float, float]:
    """Scale and shape from depths below the cut in rising order, and their shares, which sum to 1.

    With a0 = E[y] and a1 = E[y (1 - F(y))]: shape = 2 - a0 / (a0 - 2 a1), clipped to SHAPE_RANGE, and
    scale = a0 (1 - shape), which is the mean of the distribution solved for its scale.
    """
    below = np.cumsum(shares) - shares / 2
    mean = float(shares @ depths)
    rest = mean - 2 * float(shares @ (depths * (1 - below)))
    free = 2 - mean / rest if rest > 0 else 0.0
    shape = min(max(free, SHAPE_RANGE[0]), SHAPE_RANGE[1])
    return max(mean * (1 - shape), 1e-9), shape
