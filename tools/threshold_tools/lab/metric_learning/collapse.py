"""Detects training that has collapsed or diverged, and describes it in one line."""

from __future__ import annotations

import math
from collections import deque

STUCK_SHARE = 0.02  # relative: a loss that near to its value in collapse is stuck there
WINDOW = 40  # batches; a healthy loss varies more over that many
COLLAPSED_SHARE = 0.1  # of the spread at the beginning
_ADVICE = "train with a smaller --rate, a larger --pull or semi-hard triplets"


class CollapseDetector:
    """Watches the loss and the spread of every batch.

    Collapse has two signs: the mean distance of two photos fell to a tenth of its first value; or the loss is stuck
    where it is when all vectors are equal, which for triplets is the margin.
    """

    def __init__(self, collapsed: float) -> None:
        """
        Args:
            collapsed: the loss when all vectors are equal.
        """
        self._collapsed = collapsed
        self._first_sq: float | None = None
        self._losses: deque[float] = deque(maxlen=WINDOW)

    def update(self, loss: float, spread_sq: float) -> str:
        """Take one batch; returns what is wrong, or "".

        Args:
            loss: of the batch, without regularisation.
            spread_sq: mean squared distance of two photos.
        """
        if not (math.isfinite(loss) and math.isfinite(spread_sq)):
            return "diverged: the loss is not a number any more; train with a smaller --rate"
        self._first_sq = spread_sq if self._first_sq is None else self._first_sq
        self._losses.append(loss)
        if spread_sq < COLLAPSED_SHARE * self._first_sq:
            return f"collapsed: all vectors alike, {spread_sq:.3f} apart, at first {self._first_sq:.3f}; {_ADVICE}"
        near = all(abs(each - self._collapsed) <= STUCK_SHARE * self._collapsed for each in self._losses)
        if near and len(self._losses) == WINDOW:
            return f"collapsed: the loss is stuck at {self._collapsed:.3f}, as when all vectors are alike; {_ADVICE}"
        return ""
