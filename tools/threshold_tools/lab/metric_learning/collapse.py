"""Notices when training is lost, and says so in one line."""

from __future__ import annotations

import math
from collections import deque

from threshold_tools.lab.metric_learning.losses import Reals

STILL = 0.02  # relative: a loss so near to its value in collapse stands there
WINDOW = 40  # batches; a healthy loss varies more over so many
TOGETHER = 0.1  # of the spread at the beginning
_ADVICE = "train with a smaller --rate, a larger --pull or semi-hard triplets"


class Watch:
    """Looks at each batch.

    Collapse has two signs: any two photos have come together, to a tenth of their first distance; or the loss has
    stuck where it is when all vectors are alike, which for triplets is the margin.
    """

    def __init__(self, collapsed: float) -> None:
        """`collapsed` is the loss when all vectors are alike."""
        self._collapsed = collapsed
        self._first_sq: float | None = None
        self._losses: deque[float] = deque(maxlen=WINDOW)

    def update(self, loss: float, spread: float) -> str:
        """What is wrong, or "" for nothing.

        Args:
            loss: of the batch, without any regularisation.
            spread: mean squared distance of two photos.
        """
        if not (math.isfinite(loss) and math.isfinite(spread)):
            return "diverged: the loss is not a number any more; train with a smaller --rate"
        self._first_sq = spread if self._first_sq is None else self._first_sq
        self._losses.append(loss)
        if spread < TOGETHER * self._first_sq:
            return f"collapsed: all vectors alike, {spread:.3f} apart, at first {self._first_sq:.3f}; {_ADVICE}"
        near = all(abs(each - self._collapsed) <= STILL * self._collapsed for each in self._losses)
        if near and len(self._losses) == WINDOW:
            return f"collapsed: the loss is stuck at {self._collapsed:.3f}, as when all vectors are alike; {_ADVICE}"
        return ""


def spread_sq(vectors: Reals) -> float:
    """Mean squared distance of two rows (M, D) of unit length, drawn with replacement: 2 - 2 |mean|^2."""
    middle = vectors.mean(axis=0)
    return float(2 - 2 * middle @ middle)
