"""Statistics of error rates: intervals, resampling of people, thresholds for a target rate, error curves.

People, not photos, are the independent units: bootstrap samples draw people with replacement. Lower distances and
scores are nearer, except where a docstring states the opposite. A distance equal to the threshold is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.recognition.gallery import MAX_DISTANCE_SQ

Reals = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 400
FEW = 10  # errors; below this the interval of the bootstrap is too narrow
_ROUNDING = 1e-9  # tolerance for a rate times a count that should be a whole number


@dataclass(frozen=True, slots=True)
class Rate:
    """A share 0..1 and its 95 % interval; nan if the interval is unknown."""

    value: float
    low: float
    high: float


class RateWithInterval(msgspec.Struct, frozen=True):
    """Share of errors among cases, with Wilson's 95 % interval.

    The interval assumes independent cases, and is too narrow because several cases are of one person.
    """

    value: float
    low: float
    high: float
    errors: int
    cases: int

    def __str__(self) -> str:
        interval = f"({100 * self.low:.1f} to {100 * self.high:.1f}; {self.errors} of {self.cases})"
        return f"{100 * self.value:6.2f} % {interval}"


# Intervals


def wilson(errors: int, cases: int) -> RateWithInterval | None:
    """The share of errors with its 95 % interval (Wilson 1927); None without cases."""
    if not cases:
        return None
    low, high = _binomial_interval(errors, cases, "wilson")
    return RateWithInterval(errors / cases, low, high, errors, cases)


def clopper_pearson(share: float, count: int) -> Rate:
    """The exact binomial interval (Clopper and Pearson 1934) for `share` of `count` independent trials.

    If people have several photos, the share is not a whole number of people; it is then rounded outwards.
    """
    fewest, most = math.floor(share * count + _ROUNDING), math.ceil(share * count - _ROUNDING)
    return Rate(share, _binomial_interval(fewest, count, "exact")[0], _binomial_interval(most, count, "exact")[1])


def _binomial_interval(errors: int, cases: int, method: str) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes a second to import; --help does not need it

    interval = binomtest(errors, cases).proportion_ci(CONFIDENCE, method)
    return float(interval.low), float(interval.high)


def bootstrap_rate(
    value: float, resampled: Sequence[float] | Reals, *, errors: float, people: int, counted: float | None = None
) -> Rate:
    """A rate with the percentile interval of its bootstrap samples; with few errors, at least the exact interval.

    Args:
        value: the rate, 0..1.
        resampled: (R,) the rate of each bootstrap sample; nan for a sample without relevant people.
        errors: number of errors; below `FEW`, Clopper-Pearson widens the interval.
        people: number of independent trials, for Clopper-Pearson.
        counted: share for Clopper-Pearson, if it is not `value`.
    """
    low, high = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if errors < FEW:
        exact = clopper_pearson(value if counted is None else counted, people)
        low, high = min(low, exact.low), max(high, exact.high)
    return Rate(value, float(low), float(high))


def rate_over_people(wrong: NDArray[np.bool_], people: NDArray[np.intp], seed: int) -> Rate:
    """The share of wrong attempts, with equal weight for each person, and an interval over people.

    Args:
        wrong: (N,) whether each attempt is wrong.
        people: (N,) number of the person who made it.
        seed: seed of the bootstrap.
    """
    shares = share_of_each(wrong, people)
    drawn = np.random.default_rng(seed).integers(0, len(shares), (RESAMPLES, len(shares)))
    return bootstrap_rate(float(shares.mean()), shares[drawn].mean(axis=1), errors=int(wrong.sum()), people=len(shares))


def share_of_each(wrong: NDArray[np.bool_], people: NDArray[np.intp]) -> Reals:
    """(P,) share of wrong attempts of each person; arguments as for `rate_over_people`."""
    numbers = np.unique(people, return_inverse=True)[1].reshape(-1)
    return np.asarray(np.bincount(numbers, wrong) / np.bincount(numbers), np.float64)


def draw_votes(rng: np.random.Generator, people: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """(resamples, people) number of times that each person is drawn in each bootstrap sample of the same size."""
    return rng.multinomial(people, np.full(people, 1 / people), resamples)


# Thresholds for a target rate


def has_enough_samples(rate: float, count: int) -> bool:
    """Whether at least one error is expected in this number of cases."""
    return rate * count >= 1 - _ROUNDING


def allowed_errors(rate: float, count: int) -> int:
    """The largest number of errors within a rate."""
    return math.floor(rate * count + _ROUNDING)


def largest_threshold(sorted_scores: NDArray[np.floating], allowed: int) -> float:
    """The largest threshold that accepts at most `allowed` of the scores, as float32; 4 if all are allowed."""
    if allowed >= len(sorted_scores):
        return MAX_DISTANCE_SQ
    return float(np.nextafter(np.float32(sorted_scores[allowed]), np.float32(-1)))


class RankedScores:
    """Scores in ascending order: the threshold of a resample then costs one cumulative sum."""

    def __init__(self, scores: NDArray[np.floating]) -> None:
        self.order: NDArray[np.intp] = np.argsort(scores, kind="stable")  # (M,) index of each in the original order
        self.scores = scores[self.order]  # (M,) sorted

    def thresholds(
        self, rates: Sequence[float], weights: NDArray[np.number] | None = None, total: float | None = None
    ) -> list[float]:
        """The largest thresholds that accept at most these shares of the weight.

        Args:
            rates: shares, 0..1.
            weights: (M,) weight of each score in the original order; None: all equal.
            total: total weight, if the scores are only the lowest ones.
        """
        sums = self._sums(weights)
        whole = sums[-1] if total is None else total
        places = np.searchsorted(sums[1:], [rate * whole + _ROUNDING for rate in rates], side="right")
        return [largest_threshold(self.scores, int(place)) for place in places]

    def accepted(
        self, thresholds: Sequence[float] | NDArray[np.floating], weights: NDArray[np.number] | None = None
    ) -> NDArray[np.number]:
        """Weight of the scores at or below each of (T,) thresholds."""
        return self._sums(weights)[np.searchsorted(self.scores, thresholds, side="right")]

    def _sums(self, weights: NDArray[np.number] | None) -> NDArray[np.number]:
        """(M + 1,) weight of the first 0 to M scores."""
        ordered = np.ones(len(self.order)) if weights is None else weights[self.order]
        return np.concatenate([[0], np.cumsum(ordered)])


# Error curves


def equal_error_rate(false_accepts: Reals, false_rejects: Reals) -> float:
    """Rate at which two stepped error rates cross: the smallest rate that neither exceeds at the same threshold."""
    return float(np.maximum(false_accepts, false_rejects).min())


def det_curve(genuine: Sequence[float], attacks: Sequence[float]) -> list[tuple[float, float, float]]:
    """(limit, BPCER, APCER) at each score; a score at or above the limit is an attack; [] without both kinds."""
    if not genuine or not attacks:
        return []
    real, shown = np.sort(genuine), np.sort(attacks)
    limits = np.unique(np.concatenate([real, shown]))
    bpcer = 1 - np.searchsorted(real, limits) / len(real)
    apcer = np.searchsorted(shown, limits) / len(shown)
    return [(float(limit), float(b), float(a)) for limit, b, a in zip(limits, bpcer, apcer, strict=True)]


def auc(genuine: Sequence[float], attacks: Sequence[float]) -> float | None:
    """Area under the ROC curve: share of pairs in which the attack scores higher, ties half; None without both."""
    if not genuine or not attacks:
        return None
    real, shown = np.sort(genuine), np.asarray(attacks)
    below = np.searchsorted(real, shown, "left") + np.searchsorted(real, shown, "right")
    return float(below.mean() / 2 / len(real))
