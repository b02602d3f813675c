"""Measures each kind of degradation: share of samples that a door rejects, and distances of the others.

Each sample is compared with the centroid of the person's other photos, so that no photo is compared with itself.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from threshold_tools.lab.fusion.samples import SampleSet
from threshold_tools.stats import Reals

OTHERS = 2  # photos that a centroid needs, besides the one compared
_FEWEST = 10  # samples


class KindResult(msgspec.Struct, frozen=True):
    """One kind of degradation: rejected samples by reason; FNMR of all samples with a face, and of accepted ones."""

    kind: str
    tried: int
    no_face: int
    refused: dict[str, int]
    distance_sq: float | None
    fnmr: float | None
    fnmr_accepted: float | None


def measure_kinds(samples: SampleSet, threshold_sq: float) -> list[KindResult]:
    """Measure every kind; a sample beyond `threshold_sq` is a false non-match. [] if no person has enough photos."""
    distance_sq, known = own_distances(samples)
    if known.sum() < _FEWEST:
        return []
    results = []
    for kind, tried in samples.tried.items():
        found = samples.kinds == kind
        judged = known & found
        kept = judged & ~samples.refused
        refusals = Counter(samples.quality[row].refusal for row in np.flatnonzero(found & samples.refused).tolist())
        results.append(
            KindResult(
                kind=kind,
                tried=tried,
                no_face=tried - int(found.sum()),
                refused=dict(refusals.most_common()),
                distance_sq=float(np.median(distance_sq[judged])) if judged.any() else None,
                fnmr=float((distance_sq[judged] > threshold_sq).mean()) if judged.any() else None,
                fnmr_accepted=float((distance_sq[kept] > threshold_sq).mean()) if kept.any() else None,
            )
        )
    return results


def own_distances(samples: SampleSet) -> tuple[Reals, NDArray[np.bool_]]:
    """(N,) squared distance of each sample to the centroid of the person's other plain photos, and (N,) where known."""
    plain = np.flatnonzero(samples.plain)
    sums = np.zeros((len(samples.names), samples.embedding.shape[1]))
    np.add.at(sums, samples.people[plain], samples.enrolled[plain])
    counts = np.bincount(samples.people[plain], minlength=len(samples.names))
    own = np.zeros(int(samples.photos.max()) + 1, np.intp)
    own[samples.photos[plain]] = plain
    others = sums[samples.people] - samples.enrolled[own[samples.photos]]
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    return 2 - 2 * np.einsum("ij,ij->i", samples.embedding, others), counts[samples.people] > OTHERS
