"""Thresholds and error rates from attempts at a gallery.

An attempt is one photo. Error rates count people, not photos: the photos of a person share one vote, so that a person
with five hundred photos does not outweigh all others. FPIR (ISO/IEC 19795-1) is the share of strangers'
attempts that open; FNIR the share of enrolled people's attempts that are rejected or opened in another's name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.config import RecognitionConfig
from edge.core.records import FloatArray
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.calibrate.tail import GpdTail, fit_tail
from threshold_tools.classifiers import nearest
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.reports.terminal import track
from threshold_tools.stats import RankedScores, Rate, Reals, bootstrap_rate, draw_votes, rate_over_people
from threshold_tools.thresholds import max_thresholds_sq

NEAR_SHARE = 0.05  # a person's offset is the distance that this share of the strangers is within
# Share of a person's own offset that is applied. On development data at FPIR 1e-3, 0.5 lowered FNIR by 5 to 8 % of its
# value; 1 adds noise for people with few similar strangers, and 0 gives all people the same threshold.
OWN_SHARE = 0.5
_OFFSET_ROWS = 4096  # more strangers only cost time
_BLOCK = 1024
MARGIN_SQ = RecognitionConfig().margin_sq
SEED = 20240229


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdRule:
    """Computes the threshold of each person from one base: min(base + offset, cap)."""

    offsets_sq: Reals  # (N,) float64; negative for people to whom many strangers look similar
    caps_sq: Reals  # (N,) float64; below 4 for people with a look-alike in the gallery

    def thresholds_sq(self, base_sq: float) -> FloatArray:
        """(N,) float32 thresholds, 0..4; lower is stricter."""
        return np.clip(np.minimum(base_sq + self.offsets_sq, self.caps_sq), 0, MAX_DISTANCE_SQ).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Attempts:
    """Single photos compared with a gallery."""

    nearest: NDArray[np.intp]  # (N,) row of the nearest centroid
    distance_sq: Reals  # (N,) float64 squared distance to it
    runner_up_sq: Reals  # (N,) float64 squared distance to the next one; 4 if there is none
    people: NDArray[np.intp]  # (N,) number of the person who made the attempt
    weights: Reals  # (N,) float64, equal for every person, sum 1

    @property
    def people_count(self) -> int:
        return int(self.people.max()) + 1


def attempts(faces: LabelledEmbeddings, centroids: FloatArray) -> Attempts:
    """Compare every face with every centroid."""
    share = 1 / np.bincount(faces.people)[faces.people]
    return Attempts(*nearest(faces.vectors, centroids), faces.people, share / share.sum())


def limits(centroids: FloatArray, strangers: LabelledEmbeddings | None) -> ThresholdRule:
    """Caps because of look-alikes, and an offset for each person from strangers."""
    offsets = np.zeros(len(centroids))
    if strangers is not None:
        some = strangers.vectors[:: 1 + len(strangers) // _OFFSET_ROWS]
        for start in range(0, len(centroids), _BLOCK):
            likeness = some @ centroids[start : start + _BLOCK].T
            offsets[start : start + _BLOCK] = 2 - 2 * np.quantile(likeness, 1 - NEAR_SHARE, axis=0)
        offsets = OWN_SHARE * (offsets - np.median(offsets))
    return ThresholdRule(offsets, max_thresholds_sq(centroids).astype(np.float64))


class ImpostorModel:
    """Share of strangers' attempts that are accepted, for any base.

    The tail is fitted to the base at which each attempt would be accepted without caps. Caps are applied afterwards,
    because the strangers that they reject would be missing from the fit: an attempt near a capped person counts as if
    the base were at most that person's ceiling.
    """

    def __init__(self, tried: Attempts, rules: ThresholdRule) -> None:
        # (N,) the base from which each attempt is accepted, without caps
        self.critical_sq: Reals = tried.distance_sq - rules.offsets_sq[tried.nearest]
        self.weights = tried.weights  # (N,) float64, of each attempt
        self._ceilings: Reals = (rules.caps_sq - rules.offsets_sq)[tried.nearest]
        self._people = tried.people_count
        ranked = RankedScores(self.critical_sq)
        self.tail = fit_tail(ranked, tried.weights, self._people)  # of `critical_sq`
        drawn = tried.weights * draw_votes(np.random.default_rng(SEED), self._people)[:, tried.people]
        drawn /= drawn.sum(axis=1, keepdims=True)
        self._resampled = [
            (fit_tail(ranked, weights, self._people), weights) for weights in track(drawn, "Fitting the tail")
        ]

    def rule_for_rate(self, share: float) -> float:
        """The largest base at which at most this share of strangers' attempts is accepted, by bisection."""
        low, high = min(0.0, self.tail.value_at(share)), MAX_DISTANCE_SQ
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.share(middle) <= share else (low, middle)
        return low

    def share(self, base_sq: float) -> float:
        """The expected share of strangers' attempts that are accepted."""
        return self._share(self.tail, self.weights, base_sq)

    def rate(self, base_sq: float) -> Rate:
        """As `share`, with an interval for the rate of the same number of other strangers.

        The interval is a bootstrap over the strangers with a new fit each time, and the binomial chance of the count.
        """
        expected = np.array([self._share(tail, weights, base_sq) for tail, weights in self._resampled])
        drawn = np.random.default_rng(SEED).binomial(self._people, np.minimum(expected, 1)) / self._people
        observed = self._observed(self.weights, base_sq)
        errors = observed * self._people
        return bootstrap_rate(self.share(base_sq), drawn, errors=errors, people=self._people, counted=observed)

    def _share(self, tail: GpdTail, weights: Reals, base_sq: float) -> float:
        """Share by count above the cut, and by the fit below it."""
        if base_sq >= tail.cut:
            return self._observed(weights, base_sq)
        inside = self.critical_sq < tail.cut
        fitted = tail.shares_below(np.minimum(base_sq, self._ceilings[inside]))
        return float(np.average(fitted, weights=weights[inside]))

    def _observed(self, weights: Reals, base_sq: float) -> float:
        return float(weights[self.critical_sq <= np.minimum(base_sq, self._ceilings)].sum())


def is_rejected(
    tried: Attempts, own: NDArray[np.intp], thresholds_sq: FloatArray, margin_sq: float
) -> NDArray[np.bool_]:
    """(N,) whether each attempt of an enrolled person, row `own`, is rejected or accepted as another person."""
    near: NDArray[np.bool_] = tried.distance_sq <= thresholds_sq[tried.nearest]
    clear = tried.runner_up_sq - tried.distance_sq >= margin_sq
    opened: NDArray[np.bool_] = near & clear & (tried.nearest == own)
    return ~opened


@dataclass(frozen=True, slots=True, eq=False)
class GenuineAttempts:
    """Enrolled people's own attempts, and the row of each in the gallery."""

    tried: Attempts
    own: NDArray[np.intp]

    def false_reject_rate(self, thresholds_sq: FloatArray) -> Rate:
        """FNIR under these thresholds, with the default margin of a door."""
        rejected = is_rejected(self.tried, self.own, thresholds_sq, MARGIN_SQ)
        return rate_over_people(rejected, self.tried.people, SEED)

    def bases_sq(self, rules: ThresholdRule) -> Reals:
        """(M,) the base from which each attempt whose own person is nearest is accepted."""
        right = self.tried.nearest == self.own
        return np.asarray(self.tried.distance_sq[right] - rules.offsets_sq[self.own[right]])
