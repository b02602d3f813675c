"""The results of a calibration, as a record for programs and as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from threshold_tools.html import render
from threshold_tools.stats import Rate
from threshold_tools.thresholds import STRICT_FMR


class CalibrationRow(msgspec.Struct, frozen=True):
    """One target rate: its threshold, the strangers it accepts, the enrolled people it rejects."""

    one_stranger_in: float
    threshold_sq: float
    fpir: Rate
    fnir: Rate | None


class CalibrationReport(msgspec.Struct, frozen=True):
    """The report that --json prints."""

    one_stranger_in: float
    threshold_sq: float  # base for the target, before each person's own offset
    enrolled: int  # people; this and the next four: what it was measured with
    strangers: int
    stranger_photos: int
    genuine_people: int
    genuine_photos: int
    left_out: Sequence[str]  # strangers who seem to be enrolled
    rows: Sequence[CalibrationRow]  # the target and others around it, from lax to strict
    thresholds_sq: dict[str, float]  # what the gallery got, by person id


def format_report(report: CalibrationReport, out: Path) -> str:
    """The report as a table for people."""
    limits_sq = np.array(list(report.thresholds_sq.values()))
    return render(
        "calibrate.txt",
        report=report,
        out=out,
        spread=(limits_sq.min(), limits_sq.max(), np.median(limits_sq)),
        fmr=-math.expm1(math.log1p(-1 / report.one_stranger_in) / report.enrolled),
        lax_fmr=STRICT_FMR,
        percent=_percent,
    ).rstrip()


def _percent(rate: Rate) -> str:
    if math.isnan(rate.low):
        return f"{100 * rate.value:.3g} % (not known)"
    return f"{100 * rate.value:.3g} % ({100 * rate.low:.2g} to {100 * rate.high:.2g})"
