"""What each cue foretells of a sample: how far it will lie from the person's centroid.

Each look is held against the centroid of the person's other photos, so no photo is measured against itself. Rank
correlation says how well a cue orders the looks; error against reject (ISO/IEC 29794-1, NIST FATE Quality) what remains
of the false non-matches when the worst looks by that cue are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from threshold_tools.lab.fusion.report import CueLine, KindLine, Power
from threshold_tools.lab.fusion.samples import Reals, SampleSet

OTHERS = 2  # photos that a person's centroid takes, besides the one looked at
REJECTED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
_FEWEST = 10  # looks


def power(looks: SampleSet, threshold_sq: float) -> Power | None:
    """Measure every cue; None where nobody has enough photos.

    Args:
        threshold_sq: beyond it a look is a false non-match.
    """
    distance_sq, known = own_distances(looks)
    if known.sum() < _FEWEST:
        return None
    return Power(
        looks=int(known.sum()),
        people=len(np.unique(looks.people[known])),
        threshold_sq=threshold_sq,
        rejected=REJECTED,
        ideal=_curve(-distance_sq[known], distance_sq[known] > threshold_sq),
        cues=[_line(name, cue, looks, distance_sq, known, threshold_sq) for name, cue in looks.cues.items()],
        kinds=[_kind(kind, looks, distance_sq, known, threshold_sq) for kind in looks.tried],
    )


def own_distances(looks: SampleSet) -> tuple[Reals, NDArray[np.bool_]]:
    """(N,) squared distance of each look to the centroid of the person's other plain photos, and (N,) where known."""
    plain = np.flatnonzero(looks.plain)
    sums = np.zeros((len(looks.names), looks.embedding.shape[1]))
    np.add.at(sums, looks.people[plain], looks.enrolled[plain])
    counts = np.bincount(looks.people[plain], minlength=len(looks.names))
    own = np.zeros(int(looks.photos.max()) + 1, np.intp)
    own[looks.photos[plain]] = plain
    others = sums[looks.people] - looks.enrolled[own[looks.photos]]
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    return 2 - 2 * np.einsum("ij,ij->i", looks.embedding, others), counts[looks.people] > OTHERS


def error_against_reject(cue: Reals, wrong: NDArray[np.bool_], rejected: float) -> float:
    """FNMR of the looks that are left when this share of them, the lowest by the cue, is refused.

    Of looks with the same cue the mean is taken: which of them is refused is chance.
    """
    order = np.argsort(-cue, kind="stable")
    _, first, counts = np.unique(-cue[order], return_index=True, return_counts=True)
    means = np.add.reduceat(wrong[order].astype(np.float64), first) / counts
    kept = round((1 - rejected) * len(cue))
    return float(np.repeat(means, counts)[:kept].mean()) if kept else 0.0


def _curve(cue: Reals, wrong: NDArray[np.bool_]) -> Sequence[float]:
    return [error_against_reject(cue, wrong, share) for share in REJECTED]


def _line(
    name: str, cue: Reals, looks: SampleSet, distance_sq: Reals, known: NDArray[np.bool_], threshold_sq: float
) -> CueLine:
    plain = known & looks.plain
    return CueLine(
        name,
        _ranks(cue[known], distance_sq[known]),
        _ranks(cue[plain], distance_sq[plain]),
        _curve(cue[known], distance_sq[known] > threshold_sq),
    )


def _ranks(cue: Reals, distance_sq: Reals) -> float:
    """Spearman's rank correlation, with nearness: 1 is a perfect foreteller; 0 where the cue is constant."""
    if len(cue) < _FEWEST or np.ptp(cue) == 0:
        return 0.0
    return -float(spearmanr(cue, distance_sq)[0])


def _kind(kind: str, looks: SampleSet, distance_sq: Reals, known: NDArray[np.bool_], threshold_sq: float) -> KindLine:
    found = looks.kinds == kind
    judged = known & found
    kept = judged & ~looks.refused
    wrong = distance_sq > threshold_sq
    reasons: dict[str, int] = {}
    for row in np.flatnonzero(found).tolist():
        refusal = looks.quality[row].refusal
        if refusal:
            reasons[refusal] = reasons.get(refusal, 0) + 1
    return KindLine(
        kind=kind,
        tried=looks.tried[kind],
        no_face=looks.tried[kind] - int(found.sum()),
        refused=dict(sorted(reasons.items(), key=lambda item: -item[1])),
        distance_sq=float(np.median(distance_sq[judged])) if judged.any() else None,
        fnmr=float(wrong[judged].mean()) if judged.any() else None,
        fnmr_accepted=float(wrong[kept].mean()) if kept.any() else None,
    )
