"""Compares error rates with and without a head on people not used in training, with intervals of the difference.

People, not photos, are the independent units: each bootstrap sample draws people with replacement, the same for both
sides, and finds every threshold again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import open_set_identification, verification
from threshold_tools.lab.metric_learning.report import Gain, Verdict
from threshold_tools.stats import RankedScores, Reals, draw_votes, equal_error_rate

FMRS = (1e-3, 1e-4)
FPIR, IMAGES = 1e-2, 3
FEWEST = 10  # enrolled people; with fewer, the open set is left out
VALIDATION_FMRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RESAMPLES = 1000
FALSE_ALARM = 0.05  # probability that a head without effect seems to help or hurt in any of the rates
_KEPT = 0.02  # share of the impostor pairs that are kept, nearest first; more if the EER is larger


@dataclass(frozen=True, slots=True, eq=False)
class HeadRates:
    """Rates of some photos, and of the bootstrap samples of their people."""

    names: Sequence[str]  # R names of rates
    values: Reals  # (R,) 0..1
    drawn: Reals  # (resamples, R)


def measure_rates(photos: LabelledEmbeddings, seed: int, resamples: int = RESAMPLES) -> HeadRates | None:
    """All rates that the people support, or None; the same seed draws the same people.

    TAR at FMR 1e-3 and 1e-4 and EER over all pairs; FNIR at FPIR 1 % with three photos enrolled.
    """
    swept = verification.sweep(photos)
    if swept is None:
        return None
    votes = draw_votes(np.random.default_rng([seed, 3]), len(photos.names), resamples)
    fmrs = [fmr for fmr in FMRS if swept.has_enough_samples(fmr)]
    names = [*(f"TAR at FMR {fmr:.0e}" for fmr in fmrs), "EER"]
    values = [swept.accepted(swept.threshold_sq(fmr)) / len(swept.genuine_sq) for fmr in fmrs] + [swept.eer()]
    resampled = ResampledPairs(photos, min(max(_KEPT, 3 * swept.eer()), 1.0))
    drawn = np.array([resampled.rates(fmrs, each) for each in votes])
    tried = open_set_identification.open_set(photos, IMAGES, seed)
    if (
        tried
        and len(tried.enrolled) >= FEWEST
        and open_set_identification.has_enough_samples(tried, FPIR, tracks=False)
    ):
        names.append("FNIR at FPIR 1e-02")
        searches = [ResampledSearches(draw) for draw in tried.draws]
        values.append(float(np.mean([each.fnir(np.ones_like(votes[0])) for each in searches])))
        drawn = np.column_stack([drawn, [np.mean([each.fnir(one) for each in searches]) for one in votes]])
    return HeadRates(names, np.array(values), drawn)


def separation(photos: LabelledEmbeddings) -> float:
    """Separation of people, 0..1, as the criterion for stopping; it varies less than each single rate.

    It is the mean of 1 - EER and of TAR at the `VALIDATION_FMRS` that the photos support; nan without pairs.
    """
    swept = verification.sweep(photos)
    if swept is None:
        return math.nan
    limits = [swept.threshold_sq(fmr) for fmr in VALIDATION_FMRS if swept.has_enough_samples(fmr)]
    return float(np.mean([1 - swept.eer(), *(swept.accepted(limit) / len(swept.genuine_sq) for limit in limits)]))


def rate_differences(without: HeadRates, behind: HeadRates) -> list[Gain]:
    """The paired differences of rates of the same people and seed."""
    better = np.array([1.0 if name.startswith("TAR") else -1.0 for name in without.names])
    differences = (behind.drawn - without.drawn) * better
    outside = FALSE_ALARM / len(without.names) / 2
    low, high = np.nanquantile(differences, [outside, 1 - outside], axis=0)
    values = (behind.values - without.values) * better
    return [
        Gain(name, float(before), float(value), float(least), float(most))
        for name, before, value, least, most in zip(without.names, without.values, values, low, high, strict=True)
    ]


def summarize_significance(found: Sequence[Gain]) -> Verdict:
    """Verdict: hurts if any rate is significantly worse, else helps if any rate is significantly better."""
    if any(gain.high < 0 for gain in found):
        return "hurts"
    return "helps" if any(gain.low > 0 for gain in found) else "no difference"


class ResampledPairs:
    """Genuine pairs and the nearest impostor pairs, with their people."""

    def __init__(self, photos: LabelledEmbeddings, share: float) -> None:
        """Keep this share of the impostor pairs, nearest first; all photos must show a face."""
        self._counts = np.bincount(photos.people, minlength=len(photos.names))
        genuine_sq, self._own = _genuine_pairs(photos)
        impostor_sq, self._pairs = _nearest_impostors(photos, share)
        self._genuine, self._impostors = RankedScores(genuine_sq), RankedScores(impostor_sq)

    def rates(self, fmrs: Sequence[float], votes: NDArray[np.int64]) -> list[float]:
        """TAR at each FMR, then the EER, with `votes` (P,) as weight of each person; nan without pairs."""
        own, others = votes[self._own], votes[self._pairs].prod(axis=0)
        if not own.any():
            return [math.nan] * (len(fmrs) + 1)
        photos = votes * self._counts
        total = (int(photos.sum()) ** 2 - int((photos**2).sum())) / 2  # a person drawn twice makes no impostor pair
        limits = self._impostors.thresholds(fmrs, others, total)
        accepted = self._genuine.accepted(limits, own) / own.sum()
        at_sq = self._genuine.scores
        false_accepts = np.asarray(self._impostors.accepted(at_sq, others) / total, np.float64)
        false_rejects = np.asarray(1 - self._genuine.accepted(at_sq, own) / own.sum(), np.float64)
        return [*accepted.tolist(), equal_error_rate(false_accepts, false_rejects)]


class ResampledSearches:
    """The searches of one draw."""

    def __init__(self, draw: open_set_identification.EnrolmentDraw) -> None:
        self._draw = draw
        self._own = RankedScores(draw.own.critical_sq.astype(np.float32))
        self._strangers = RankedScores(draw.strangers.critical_sq.astype(np.float32))

    def fnir(self, votes: NDArray[np.int64]) -> float:
        """FNIR with `votes` (P,) as weight of each person; nan without enrolled people or strangers."""
        own, strangers = votes[self._draw.own.people], votes[self._draw.strangers.people]
        if not own.any() or not strangers.any():
            return math.nan
        limits = self._strangers.thresholds([FPIR], strangers)
        return float(1 - self._own.accepted(limits, own)[0] / own.sum())


def _genuine_pairs(photos: LabelledEmbeddings) -> tuple[FloatArray, NDArray[np.intp]]:
    """Distances of all pairs of one person, and the people."""
    parts, own = [np.zeros(0, np.float32)], [np.zeros(0, np.intp)]
    for person, rows in enumerate(photos.rows_of):
        first, second = np.triu_indices(len(rows), 1)
        parts.append(verification.squared(photos.vectors[rows] @ photos.vectors[rows].T)[first, second])
        own.append(np.full(len(first), person))
    return np.concatenate(parts), np.concatenate(own)


def _nearest_impostors(photos: LabelledEmbeddings, share: float) -> tuple[FloatArray, NDArray[np.intp]]:
    """Distances of the nearest `share` of the pairs of two people, and the people, (2, N)."""
    counts = np.bincount(photos.people)
    needed = math.ceil(share * (len(photos) ** 2 - int((counts**2).sum())) / 2)
    near, pairs = np.zeros(0, np.float32), np.zeros((2, 0), np.intp)
    for start, matrix in verification.impostor_blocks(photos.vectors, photos.people, verification.BLOCK):
        rows, columns = np.nonzero(matrix < verification.NO_PAIR)
        near = np.concatenate([near, matrix[rows, columns]])
        pairs = np.concatenate([pairs, photos.people[start + np.stack([rows, columns])]], axis=1)
        if len(near) > needed:
            kept = np.argpartition(near, needed - 1)[:needed]
            near, pairs = near[kept], pairs[:, kept]
    return near, pairs
