"""Does a head help people it has never seen? The same rates with and without it, and how sure the difference is.

People are the unit of chance, not photos: in each bootstrap sample people are drawn with replacement, the same ones for
both sides, and every threshold is found anew.
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
from threshold_tools.lab.metric_learning.losses import Reals
from threshold_tools.lab.metric_learning.report import Gain, Verdict
from threshold_tools.stats import largest_threshold

FMRS = (1e-3, 1e-4)
FPIR, IMAGES = 1e-2, 3
FEWEST = 10  # people enrolled, or the open set is left out
VALIDATION_FMRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RESAMPLES = 1000
FALSE_ALARM = 0.05  # chance that a head without effect seems to help or hurt in any of the rates
_KEPT = 0.02  # share of the impostor pairs that are kept, the nearest ones; more where the EER is larger
_BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Rates of some photos, and of the bootstrap samples of their people.

    Attributes:
        names: R names of rates.
        better: (R,) 1 where higher is better, -1 where lower is.
        values: (R,) 0..1.
        drawn: (RESAMPLES, R).
    """

    names: Sequence[str]
    better: Reals
    values: Reals
    drawn: Reals


def rates(photos: LabelledEmbeddings, seed: int) -> Rates | None:
    """All rates that the people support; the same seed draws the same people. None where they support none.

    TAR at FMR 1e-3 and 1e-4 and EER over all pairs; FNIR at FPIR 1 % with three photos enrolled.
    """
    swept = verification.sweep(photos)
    if swept is None:
        return None
    count = len(photos.names)
    votes = np.random.default_rng([seed, 3]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    fmrs = [fmr for fmr in FMRS if swept.has_enough_samples(fmr)]
    names, better = [f"TAR at FMR {fmr:.0e}" for fmr in fmrs] + ["EER"], [1.0] * len(fmrs) + [-1.0]
    values = [swept.accepted(swept.threshold_sq(fmr)) / len(swept.genuine_sq) for fmr in fmrs] + [swept.eer()]
    resampled = _Pairs(photos, min(max(_KEPT, 3 * swept.eer()), 1.0))
    drawn = np.array([resampled.rates(fmrs, each) for each in votes])
    tried = open_set_identification.open_set(photos, IMAGES, seed)
    if (
        tried is not None
        and len(tried.enrolled) >= FEWEST
        and open_set_identification.has_enough_samples(tried, FPIR, tracks=False)
    ):
        names.append("FNIR at FPIR 1e-02")
        better.append(-1.0)
        searches = [_Searches(draw) for draw in tried.draws]
        values.append(float(np.mean([each.fnir(None) for each in searches])))
        missed = np.array([np.mean([each.fnir(one) for each in searches]) for one in votes])
        drawn = np.column_stack([drawn, missed])
    return Rates(names, np.array(better), np.array(values), drawn)


def separation(photos: LabelledEmbeddings) -> float:
    """How well people are kept apart, for training to be stopped by: steadier than any one of the rates, 0..1.

    The mean of 1 - EER and of TAR at those `VALIDATION_FMRS` that the photos support; nan without pairs.
    """
    swept = verification.sweep(photos)
    if swept is None:
        return math.nan
    limits = [swept.threshold_sq(fmr) for fmr in VALIDATION_FMRS if swept.has_enough_samples(fmr)]
    return float(np.mean([1 - swept.eer(), *(swept.accepted(limit) / len(swept.genuine_sq) for limit in limits)]))


def rate_differences(without: Rates, behind: Rates) -> list[Gain]:
    """The paired differences; both of the same people and seed."""
    differences = (behind.drawn - without.drawn) * without.better
    outside = FALSE_ALARM / len(without.names) / 2
    low, high = np.nanquantile(differences, [outside, 1 - outside], axis=0)
    values = (behind.values - without.values) * without.better
    return [
        Gain(name, float(before), float(value), float(least), float(most))
        for name, before, value, least, most in zip(without.names, without.values, values, low, high, strict=True)
    ]


def summarize_significance(found: Sequence[Gain]) -> Verdict:
    """It hurts where any rate is worse by more than chance; it helps where one is better so, and none worse."""
    if any(gain.high < 0 for gain in found):
        return "hurts"
    return "helps" if any(gain.low > 0 for gain in found) else "no difference"


class _Pairs:
    """Genuine pairs and the nearest impostor pairs, sorted, with the people they are of."""

    def __init__(self, photos: LabelledEmbeddings, share: float) -> None:
        """All `photos` with a face."""
        self._counts = np.bincount(photos.people, minlength=len(photos.names))
        self._genuine_sq, self._who = _genuine_pairs(photos)
        self._impostor_sq, self._one, self._two = _nearest(photos, share)
        self._within = np.searchsorted(self._impostor_sq, self._genuine_sq, side="right")
        self._last = np.searchsorted(self._genuine_sq, self._genuine_sq, side="right")

    def rates(self, fmrs: Sequence[float], votes: NDArray[np.int64]) -> list[float]:
        """TAR at each FMR, then the EER, where each person counts so many times."""
        own = np.cumsum(np.concatenate([[0], votes[self._who]]))
        if not own[-1]:
            return [math.nan] * (len(fmrs) + 1)
        others = np.cumsum(np.concatenate([[0], votes[self._one] * votes[self._two]]))
        photos = votes * self._counts
        total = (int(photos.sum()) ** 2 - int((photos**2).sum())) / 2  # nobody is an impostor to himself, drawn twice
        places = np.searchsorted(others[1:], [fmr * total + 1e-9 for fmr in fmrs], side="right")
        limits = [largest_threshold(self._impostor_sq, int(place)) for place in places]
        accepted = own[np.searchsorted(self._genuine_sq, limits, side="right")] / own[-1]
        crossing = np.maximum(others[self._within] / total, 1 - own[self._last] / own[-1])
        return [*accepted.tolist(), float(crossing.min())]


class _Searches:
    """The searches of one draw, sorted."""

    def __init__(self, draw: open_set_identification.EnrolmentDraw) -> None:
        self._own_sq, self._own = _ordered(draw.own)
        self._strangers_sq, self._strangers = _ordered(draw.strangers)

    def fnir(self, votes: NDArray[np.int64] | None) -> float:
        """Where each person counts so many times; nan where the draw has none of the enrolled."""
        weights = np.ones(len(self._own)) if votes is None else votes[self._own].astype(np.float64)
        lets_in = np.cumsum(np.ones(len(self._strangers)) if votes is None else votes[self._strangers])
        if not weights.sum() or not lets_in[-1]:
            return math.nan
        place = int(np.searchsorted(lets_in, FPIR * lets_in[-1] + 1e-9, side="right"))
        opened = int(np.searchsorted(self._own_sq, largest_threshold(self._strangers_sq, place), side="right"))
        return float(1 - weights[:opened].sum() / weights.sum())


def _ordered(searches: open_set_identification.SearchScores) -> tuple[FloatArray, NDArray[np.intp]]:
    order = np.argsort(searches.critical_sq, kind="stable")
    return searches.critical_sq[order].astype(np.float32), searches.people[order]


def _genuine_pairs(photos: LabelledEmbeddings) -> tuple[FloatArray, NDArray[np.intp]]:
    parts, who = [np.zeros(0, np.float32)], [np.zeros(0, np.intp)]
    for person, rows in enumerate(photos.rows_of):
        first, second = np.triu_indices(len(rows), 1)
        parts.append(verification.squared(photos.vectors[rows] @ photos.vectors[rows].T)[first, second])
        who.append(np.full(len(first), person))
    distances = np.concatenate(parts)
    order = np.argsort(distances, kind="stable")
    return distances[order], np.concatenate(who)[order]


def _nearest(photos: LabelledEmbeddings, share: float) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """The nearest `share` of the pairs of two people: distances, sorted, and the people."""
    counts = np.bincount(photos.people)
    wanted = math.ceil(share * (len(photos) ** 2 - int((counts**2).sum())) / 2)
    near, one, two = np.zeros(0, np.float32), np.zeros(0, np.intp), np.zeros(0, np.intp)
    for start in range(0, len(photos), _BLOCK):
        people, rest = photos.people[start : start + _BLOCK], photos.people[start:]
        matrix = verification.squared(photos.vectors[start : start + _BLOCK] @ photos.vectors[start:].T)
        once = (people[:, None] != rest[None, :]) & np.triu(np.ones(matrix.shape, bool), 1)
        rows, columns = np.nonzero(once)
        near = np.concatenate([near, matrix[rows, columns]])
        one, two = np.concatenate([one, people[rows]]), np.concatenate([two, rest[columns]])
        if len(near) > wanted:
            kept = np.argpartition(near, wanted - 1)[:wanted]
            near, one, two = near[kept], one[kept], two[kept]
    order = np.argsort(near, kind="stable")
    return near[order], one[order], two[order]
