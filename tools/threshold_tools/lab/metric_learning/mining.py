"""Which triplets a batch is worth: every anchor and positive, and one negative for each."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mining = Literal["random", "hard", "semihard"]
Rows = NDArray[np.intp]


def mine_triplets(
    distances_sq: NDArray[np.float64],
    people: Rows,
    margin: float,
    mining: Mining,
    rng: np.random.Generator,
) -> tuple[Rows, Rows, Rows]:
    """Anchors, positives and negatives of one batch.

    random: any photo of somebody else. hard: the nearest of those, which leads to collapse most easily. semihard: the
    nearest that is farther than the positive, but by less than the margin (Schroff et al. 2015, section 3.2); pairs
    without one are left out.

    Args:
        distances_sq: (M, M) squared distances.
        people: (M,) number of each row's person.
        margin: squared distance.
        rng: for random mining.

    Returns:
        Three arrays (T,) of rows.
    """
    same = people[:, None] == people[None, :]
    anchor, positive = np.nonzero(same & ~np.eye(len(people), dtype=bool))
    tried = ~same[anchor]
    if mining == "random":
        order = np.where(tried, rng.random(tried.shape), np.inf)
    else:
        order = np.where(tried, distances_sq[anchor], np.inf)
    if mining == "semihard":
        own = distances_sq[anchor, positive][:, None]
        order = np.where((order > own) & (order < own + margin), order, np.inf)
    if not order.size:
        return anchor[:0], anchor[:0], anchor[:0]
    negative = order.argmin(axis=1)
    some = np.isfinite(order[np.arange(len(order)), negative])
    return anchor[some], positive[some], negative[some]
