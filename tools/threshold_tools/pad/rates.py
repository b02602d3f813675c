"""Error rates with intervals, and the curves behind them; scores are 0 (genuine) to 1 (attack), or rise alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

_Z = 1.959964  # two-sided 95 %


class RateWithInterval(msgspec.Struct, frozen=True):
    """Errors among cases, with Wilson's 95 % interval (1927); cases are taken as independent, and they are not quite:
    several are of one person."""

    value: float
    low: float
    high: float
    errors: int
    cases: int

    def __str__(self) -> str:
        interval = f"({100 * self.low:.1f} to {100 * self.high:.1f}; {self.errors} of {self.cases})"
        return f"{100 * self.value:6.2f} % {interval}"


def wilson(errors: int, cases: int) -> RateWithInterval | None:
    """A share with its 95 % interval; None of no cases."""
    if not cases:
        return None
    share, square = errors / cases, _Z * _Z / cases
    middle = (share + square / 2) / (1 + square)
    reach = _Z / (1 + square) * math.sqrt(share * (1 - share) / cases + square / (4 * cases))
    return RateWithInterval(share, max(middle - reach, 0.0), min(middle + reach, 1.0), errors, cases)


def format_rate(share: RateWithInterval | None) -> str:
    """For people."""
    return "     -" if share is None else str(share)


def det(genuine: Sequence[float], attacks: Sequence[float]) -> list[tuple[float, float, float]]:
    """(limit, BPCER, APCER) at each score that occurs; at or above the limit is an attack; [] without both."""
    if not genuine or not attacks:
        return []
    real, shown = np.sort(genuine), np.sort(attacks)
    limits = np.unique(np.concatenate([real, shown]))
    bpcer = 1 - np.searchsorted(real, limits) / len(real)
    apcer = np.searchsorted(shown, limits) / len(shown)
    return [(float(limit), float(b), float(a)) for limit, b, a in zip(limits, bpcer, apcer, strict=True)]


def auc(genuine: Sequence[float], attacks: Sequence[float]) -> float | None:
    """Area under the ROC curve: how often an attack scores above a genuine one, ties half; None without both."""
    if not genuine or not attacks:
        return None
    real, shown = np.sort(genuine), np.asarray(attacks)
    below = np.searchsorted(real, shown, "left") + np.searchsorted(real, shown, "right")
    return float(below.mean() / 2 / len(real))
