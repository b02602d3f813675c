"""Thresholds for a target false-match rate, from the table of impostor distances that ships with the embedder.

Thresholds are squared distances between unit vectors, 0 to 4: lower is stricter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge.core.records import FloatArray
from edge.recognition.gallery import MAX_DISTANCE_SQ
from edge.vision.manifest import OperatingPoint

STRICT_FMR = 1e-4  # laxest FMR of any gallery: NIST SP 800-63B-4 requires 1 in 10,000 or better
LOOKALIKE_SHARE = 0.9  # largest threshold as a share of the distance to a look-alike's centroid
_BLOCK = 1024  # rows compared with the whole gallery at a time


def threshold_sq(impostors: Sequence[OperatingPoint], *, one_stranger_in: float, people: int) -> float:
    """The squared distance at which at most one stranger in N is accepted; lower is stricter.

    A stranger is compared with all enrolled people, so FPIR = 1 - (1 - FMR)^people. The table gives the distance for
    that FMR, linear in its logarithm between two rows; beyond the strictest row, the strictest row is used.

    Args:
        impostors: the embedder's table, from lax to strict.
        one_stranger_in: accept at most one stranger in this many.
        people: size of the gallery.
    """
    fpir = min(1 / one_stranger_in, 0.5)
    fmr = min(-math.expm1(math.log1p(-fpir) / people), STRICT_FMR)
    return threshold_for_fmr(impostors, fmr)


def threshold_for_fmr(impostors: Sequence[OperatingPoint], fmr: float) -> float:
    """The squared distance below which a share `fmr` of the stranger-to-centroid pairs is."""
    distances_sq, logarithms = _strict_to_lax(impostors)
    return float(np.interp(math.log10(fmr), logarithms, distances_sq))


def fmr_at(impostors: Sequence[OperatingPoint], distance_sq: float) -> float:
    """The share of stranger-to-centroid pairs below a squared distance; inverse of `threshold_for_fmr`."""
    distances_sq, logarithms = _strict_to_lax(impostors)
    return math.pow(10, np.interp(distance_sq, distances_sq, logarithms))


def _strict_to_lax(impostors: Sequence[OperatingPoint]) -> tuple[list[float], list[float]]:
    """Squared distances and decimal logarithms of their FMR, both ascending."""
    rows = sorted(impostors, key=lambda row: row.fmr)
    return [row.distance_sq for row in rows], [math.log10(row.fmr) for row in rows]


def fpir_at(impostors: Sequence[OperatingPoint], distance_sq: float, people: int) -> float:
    """The share of strangers that a gallery of this size accepts at a squared distance."""
    return -math.expm1(people * math.log1p(-fmr_at(impostors, distance_sq)))


def smallest_supported_rate(impostors: Sequence[OperatingPoint], people: int) -> float:
    """The smallest FPIR that the embedder's table supports for a gallery of this size."""
    return -math.expm1(people * math.log1p(-min(row.fmr for row in impostors)))


def max_thresholds_sq(centroids: FloatArray) -> FloatArray:
    """The largest threshold of each person, because of the nearest other centroid.

    Args:
        centroids: (N, D) float32 unit rows.

    Returns:
        (N,) float32; 4 for a single person.
    """
    caps = np.full(len(centroids), MAX_DISTANCE_SQ, np.float32)
    if len(centroids) < 2:
        return caps
    for start in range(0, len(centroids), _BLOCK):
        likeness = centroids[start : start + _BLOCK] @ centroids.T
        np.fill_diagonal(likeness[:, start:], -1)
        caps[start : start + _BLOCK] = LOOKALIKE_SHARE * np.maximum(2 - 2 * likeness.max(axis=1), 0)
    return caps
