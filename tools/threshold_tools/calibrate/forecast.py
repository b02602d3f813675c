"""What each wish would come to: a threshold, the strangers it lets in, the enrolled people it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.config import RecognitionConfig
from edge.core.records import FloatArray
from edge.vision.manifest import OperatingPoint
from threshold_tools.calibrate.rates import Attempts, ImpostorModel, ThresholdRule, is_rejected
from threshold_tools.calibrate.report import Row
from threshold_tools.stats import Rate, rate_over_people
from threshold_tools.thresholds import fmr_at, threshold_sq

WISHES = (30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MARGIN_SQ = RecognitionConfig().margin_sq
SEED = 20240229


@dataclass(frozen=True, slots=True, eq=False)
class GenuineAttempts:
    """Enrolled people's own attempts, and the row of each in the gallery."""

    tried: Attempts
    own: NDArray[np.intp]

    def false_reject_rate(self, thresholds_sq: FloatArray) -> Rate:
        """FNIR under these thresholds, with the margin that a door asks for by default."""
        return rate_over_people(is_rejected(self.tried, self.own, thresholds_sq, MARGIN_SQ), self.tried.people, SEED)


def target_rates(most: float, wish: float) -> list[float]:
    """The wishes of the table: round ones up to `most`, and the operator's."""
    return sorted({float(each) for each in WISHES if each <= most} | {wish})


def from_strangers(
    opens: ImpostorModel, rules: ThresholdRule, wishes: Sequence[float], genuine: GenuineAttempts | None
) -> list[Row]:
    """The table as the strangers foretell it."""
    rows = []
    for each in wishes:
        base = opens.rule_for_rate(1 / each)
        fnir = genuine.false_reject_rate(rules.thresholds_sq(base)) if genuine else None
        rows.append(Row(each, base, opens.rate(base), fnir))
    return rows


def from_table(
    table: Sequence[OperatingPoint], rules: ThresholdRule, wishes: Sequence[float], genuine: GenuineAttempts | None
) -> list[Row]:
    """The table as the embedder's own impostors foretell it; how sure that is for other faces, nobody knows."""
    people = len(rules.caps_sq)
    rows = []
    for each in wishes:
        base = threshold_sq(table, one_stranger_in=each, people=people)
        fpir = -math.expm1(people * math.log1p(-fmr_at(table, base)))
        fnir = genuine.false_reject_rate(rules.thresholds_sq(base)) if genuine else None
        rows.append(Row(each, base, Rate(fpir, math.nan, math.nan), fnir))
    return rows
