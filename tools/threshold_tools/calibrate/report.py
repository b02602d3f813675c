"""The results of a calibration, as a record for programs and as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from threshold_tools.stats import Rate

LAX_FMR = 1e-4  # NIST SP 800-63B-4 asks for a false match rate of 1 in 10,000 or better


class CalibrationRow(msgspec.Struct, frozen=True):
    """One target rate: its threshold, the strangers it accepts, the enrolled people it rejects."""

    one_stranger_in: float
    threshold_sq: float
    fpir: Rate
    fnir: Rate | None


class CalibrationReport(msgspec.Struct, frozen=True):
    """The report that --json prints.

    Attributes:
        threshold_sq: base for the target, before each person's own offset.
        enrolled, strangers, stranger_photos, genuine_people, genuine_photos: what it was measured with.
        left_out: strangers who seem to be enrolled.
        rows: the target and others around it, from lax to strict.
        thresholds_sq: what the gallery got, by person id.
    """

    one_stranger_in: float
    threshold_sq: float
    enrolled: int
    strangers: int
    stranger_photos: int
    genuine_people: int
    genuine_photos: int
    left_out: Sequence[str]
    rows: Sequence[CalibrationRow]
    thresholds_sq: dict[str, float]


def format_report(report: CalibrationReport, out: Path) -> str:
    """The report as a table for people."""
    lines = [
        f"{report.enrolled} enrolled; {report.strangers} strangers in {report.stranger_photos} photos"
        + ("" if report.strangers else " (the embedder's table instead)")
        + f"; {report.genuine_photos} genuine attempts of {report.genuine_people} people",
        "",
        "  one stranger in  threshold_sq   false opens, 95 % interval      false refusals, 95 % interval",
    ]
    for row in report.rows:
        mark = ">" if row.one_stranger_in == report.one_stranger_in else " "
        fnir = _percent(row.fnir) if row.fnir else "not measured; give --genuine"
        lines.append(
            f"{mark} {row.one_stranger_in:>15,.0f}  {row.threshold_sq:>12.3f}   {_percent(row.fpir):<30}  {fnir}"
        )
    limits_sq = np.array(list(report.thresholds_sq.values()))
    lines += [
        "",
        f"{out}: thresholds_sq {limits_sq.min():.2f} to {limits_sq.max():.2f}, median {np.median(limits_sq):.2f} "
        "(lower is stricter). Rates are for one photo each; a door, which fuses several, does better.",
    ]
    fmr = -math.expm1(math.log1p(-1 / report.one_stranger_in) / report.enrolled)
    if fmr > LAX_FMR:
        lines.append(
            f"note: for a gallery this small, this is a false match rate of 1 in {1 / fmr:,.0f} for one person; "
            "NIST SP 800-63B-4 asks for 1 in 10,000 or better"
        )
    return "\n".join(lines)


def _percent(rate: Rate) -> str:
    if math.isnan(rate.low):
        return f"{100 * rate.value:.3g} % (not known)"
    return f"{100 * rate.value:.3g} % ({100 * rate.low:.2g} to {100 * rate.high:.2g})"
