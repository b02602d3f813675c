"""From an operator's wish to a threshold, by the table of impostor distances that ships with the embedder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from edge.vision.manifest import Operating

STRICT_FMR = 1e-4  # never laxer, however small the gallery: NIST SP 800-63B-4 asks for FMR of 1 in 10,000 or better


def threshold_sq(impostors: Sequence[Operating], *, one_stranger_in: float, people: int) -> float:
    """The squared distance at which at most one stranger in so many is accepted; lower is stricter.

    A stranger is measured against everybody enrolled, so FPIR = 1 - (1 - FMR)^people; the table gives the distance for
    that FMR, linear in its logarithm between two rows. Beyond the strictest row the strictest row holds.

    Args:
        impostors: the embedder's table, from lax to strict.
        one_stranger_in: accept at most one stranger in this many.
        people: size of the gallery.
    """
    fpir = min(1 / one_stranger_in, 0.5)
    fmr = min(-math.expm1(math.log1p(-fpir) / people), STRICT_FMR)
    return distance_at(impostors, fmr)


def distance_at(impostors: Sequence[Operating], fmr: float) -> float:
    """The squared distance below which a share `fmr` of stranger-to-centroid pairs falls."""
    rows = sorted(impostors, key=lambda row: row.fmr)
    if fmr <= rows[0].fmr:
        return rows[0].distance_sq
    for strict, lax in itertools.pairwise(rows):
        if fmr <= lax.fmr:
            along = math.log(fmr / strict.fmr) / math.log(lax.fmr / strict.fmr)
            return strict.distance_sq + along * (lax.distance_sq - strict.distance_sq)
    return rows[-1].distance_sq
