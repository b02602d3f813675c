"""The lower tail of impostor distances: how rarely does a stranger come very near?

Peaks over threshold (Coles 2001, "An Introduction to Statistical Modeling of Extreme Values", chapter 4): of the
distances, the nearest tenth is kept; how far each lies below the cut u follows a generalised Pareto distribution,

    P(x < u - y) = zeta * (1 + shape * y / scale) ** (-1 / shape),        zeta * exp(-y / scale) for shape 0,

zeta being the share kept. Scale and shape come from probability-weighted moments (Hosking and Wallis 1987,
"Parameter and Quantile Estimation for the Generalized Pareto Distribution", Technometrics 29, equations 4 and 5),
which are closed formulas, steady in small samples, and take weights: every stranger counts as much as any other,
however many photos there are of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threshold_tools.stats import Reals

KEPT = 0.1  # share of the attempts that are the tail; 0.05 and 0.2 were tried: less steady, and less true
FEWEST = 30  # people in the tail, or the tail reaches further
# A free shape changes so much from sample to sample that it, not the data, decides beyond 1 in 1000; a thin tail
# (negative shape) predicts too few false opens there. Close to exponential was right on people who were not fitted.
SHAPE_RANGE = (-0.05, 0.05)


@dataclass(frozen=True, slots=True)
class GpdTail:
    """A fitted lower tail: below `cut` by the formula."""

    cut: float  # where the tail begins, in the unit of the values (squared distance)
    kept: float  # share of all values below it
    scale: float  # in the unit of the values
    shape: float  # 0 is exponential, positive heavier

    def shares_below(self, values: Reals) -> Reals:
        """How large a share of all values lies below each of `values`, which reach up to `cut`."""
        steps = np.maximum(self.cut - values, 0.0) / self.scale
        if abs(self.shape) < 1e-9:
            return np.asarray(self.kept * np.exp(-steps))
        return np.asarray(self.kept * np.maximum(1 + self.shape * steps, 0.0) ** (-1 / self.shape))

    def share_below(self, value: float) -> float:
        """As `shares_below`, of one value."""
        return float(self.shares_below(np.array([value]))[0])

    def value_at(self, share: float) -> float:
        """The value below which `share` of all values lies, for a `share` up to `kept`."""
        ratio = min(share / self.kept, 1.0)
        if abs(self.shape) < 1e-9:
            return self.cut + self.scale * math.log(ratio)
        return self.cut - self.scale / self.shape * (math.pow(ratio, -self.shape) - 1)


class EmpiricalTail:
    """Values in order, with the place of each in the original row, so that other weights cost no other sort."""

    def __init__(self, values: Reals) -> None:
        """
        Args:
            values: (N,) float64, at least two.
        """
        self.order: NDArray[np.intp] = np.argsort(values, kind="stable")
        self.values: Reals = values[self.order]

    def fit(self, weights: Reals, people: int) -> GpdTail:
        """Fit the tail; `weights` (N,) sum to 1, in the original order; `people` is how many strangers they are."""
        place, cumulated = self._place(max(KEPT, FEWEST / people), weights)
        while place < len(self.values) - 1 and not self.values[place] > self.values[0]:
            place += 1  # the same photo many times: take in more until there is something to fit
        cut = float(self.values[place])
        kept = float(cumulated[place - 1])
        depths = cut - self.values[:place][::-1]
        shares = weights[self.order[:place]][::-1] / kept
        scale, shape = _probability_weighted_moments(depths, shares)
        return GpdTail(cut, kept, scale, shape)

    def _place(self, share: float, weights: Reals) -> tuple[int, Reals]:
        """The first place, at least 1, with more than `share` of the weight up to it; and the weight up to each."""
        cumulated = np.cumsum(weights[self.order])
        return min(max(int(np.searchsorted(cumulated, share, side="right")), 1), len(cumulated) - 1), cumulated


def _probability_weighted_moments(depths: Reals, shares: Reals) -> tuple[float, float]:
    """Scale and shape from depths below the cut in rising order and their shares, which sum to 1.

    With a0 = E[y] and a1 = E[y (1 - F(y))]: shape = 2 - a0 / (a0 - 2 a1), here held in SHAPE_RANGE, and
    scale = a0 (1 - shape), which is the mean of the distribution solved for its scale.
    """
    below = np.cumsum(shares) - shares / 2
    mean = float(shares @ depths)
    rest = mean - 2 * float(shares @ (depths * (1 - below)))
    free = 2 - mean / rest if rest > 0 else 0.0
    shape = min(max(free, SHAPE_RANGE[0]), SHAPE_RANGE[1])
    return max(mean * (1 - shape), 1e-9), shape
