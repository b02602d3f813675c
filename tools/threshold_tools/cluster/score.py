"""How well clusters agree with who is truly on the photos."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array


class Score(msgspec.Struct, frozen=True):
    """Shares 0..1.

    Attributes:
        people: who truly are on the photos.
        purity: share of the photos that show the most frequent person of their cluster; one alone always does.
        purity_in_company: the same of the photos in clusters of two or more; None without any.
        precision: share of the pairs in one cluster that show one person; 1 where there are none.
        recall: share of the pairs of one person that are in one cluster; 1 where there are none.
        f: harmonic mean of the two.
    """

    people: int
    purity: float
    purity_in_company: float | None
    precision: float
    recall: float
    f: float


def score(labels: NDArray[np.intp], people: NDArray[np.intp]) -> Score:
    """Compare clusters (N,) with the numbers of the people (N,), both 0 and up; pairs are counted, never listed."""
    table = coo_array((np.ones(len(labels), np.int64), (labels, people))).tocsr()
    sizes = np.bincount(labels)
    most = table.max(axis=1).toarray().reshape(-1)
    several = sizes > 1
    together, mated, true = _pairs(sizes), _pairs(np.bincount(people)), _pairs(table.data)
    precision = true / together if together else 1.0
    recall = true / mated if mated else 1.0
    return Score(
        people=int(np.count_nonzero(np.bincount(people))),
        purity=float(most.sum() / len(labels)),
        purity_in_company=float(most[several].sum() / sizes[several].sum()) if several.any() else None,
        precision=precision,
        recall=recall,
        f=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    )


def _pairs(counts: NDArray[np.int64]) -> int:
    return int((counts * (counts - 1) // 2).sum())
