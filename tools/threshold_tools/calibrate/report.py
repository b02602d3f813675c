"""Results of a calibration: the record that --json prints, and the report for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.core.cli_support import counted
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn
from threshold_tools.stats import Rate
from threshold_tools.thresholds import STRICT_FMR

_STRICTEST = 5  # people listed
_MANY_REJECTED = 0.05  # share of enrolled people's photos; above it the verdict is a warning


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
    enrolled: int  # people in the gallery; this and the next four: size of the data
    strangers: int
    stranger_photos: int
    genuine_people: int
    genuine_photos: int
    left_out: Sequence[str]  # strangers who are or look enrolled, with the reason
    rows: Sequence[CalibrationRow]  # the target and other targets, from lax to strict
    thresholds_sq: dict[str, float]  # thresholds in the gallery, by person id


def document(report: CalibrationReport, out: Path) -> ReportDocument:
    """The report for people; `out` is the gallery that was written."""
    limits_sq = np.array(list(report.thresholds_sq.values()))
    rows = [_cells(row) for row in report.rows]
    strictest = sorted(report.thresholds_sq.items(), key=lambda item: item[1])[:_STRICTEST]
    origin = (
        f"{counted(report.strangers, 'stranger')} in {counted(report.stranger_photos, 'photo')}"
        if report.strangers
        else "the table of distances between strangers that ships with the embedder"
    )
    return ReportDocument(
        title=f"Calibration of {out.name}",
        source=f"{counted(report.enrolled, 'person', 'people')} enrolled; measured with {origin}",
        verdict=verdict(report, out),
        facts=[
            ("people enrolled", f"{report.enrolled:,}"),
            ("strangers", f"{report.strangers:,}" if report.strangers else "none given"),
            ("photos of enrolled people", f"{report.genuine_photos:,}" if report.genuine_photos else "none given"),
            ("thresholds in the gallery", f"{limits_sq.min():.2f} to {limits_sq.max():.2f}"),
            ("median threshold", f"{np.median(limits_sq):.2f}"),
        ],
        tables=[
            ReportTable(
                "Thresholds by target",
                [
                    TableColumn("Target: one stranger in"),
                    TableColumn("Threshold", "largest accepted squared distance, 0 to 4; lower is stricter"),
                    TableColumn(
                        "Strangers accepted", "share of strangers' photos that are taken for an enrolled person (FPIR)"
                    ),
                    TableColumn("95 % interval", "range that contains the true rate with a probability of 95 %"),
                    TableColumn(
                        "Enrolled rejected",
                        "share of enrolled people's photos that are rejected or given another name (FNIR)",
                    ),
                    TableColumn("95 % interval"),
                ],
                rows,
                note="Each rate is per photo. The marked row is in the gallery.",
                marked=[row.one_stranger_in for row in report.rows].index(report.one_stranger_in),
            ),
            ReportTable(
                "Strictest thresholds in the gallery",
                [TableColumn("Person", text=True), TableColumn("Threshold")],
                [(person, f"{limit:.2f}") for person, limit in strictest],
                note="A person gets a stricter threshold if many strangers, or another enrolled person, look similar.",
            ),
        ],
        notes=[f"left out: {each}" for each in report.left_out],
    )


def verdict(report: CalibrationReport, out: Path) -> ReportVerdict:
    """The chosen threshold with its rates, and what to know before it is published."""
    places = [row.one_stranger_in for row in report.rows]
    chosen = report.rows[places.index(report.one_stranger_in)]
    headline = (
        f"Threshold {chosen.threshold_sq:.2f} is set: one stranger's photo in {report.one_stranger_in:,.0f} gets in"
    )
    if chosen.fnir is not None:
        headline += f", {_percent(chosen.fnir.value)} of enrolled people's photos are rejected"
    advice = [f"Next: publish it to the doors with `threshold sync publish --gallery {out}`."]
    stricter = report.rows[places.index(report.one_stranger_in) + 1 :][:1]
    for row in stricter:
        if row.fnir is not None:
            advice.append(f"A target of one in {row.one_stranger_in:,.0f} would reject {_percent(row.fnir.value)}.")
    if report.genuine_photos == 0:
        advice.append("How many enrolled people are rejected is not measured: give photos of them with `--genuine`.")
    if report.strangers == 0:
        advice.append("The table is not measured with your cameras and visitors; `--strangers` is more accurate.")
    advice.append(
        "Rates are per photo. A door samples each visitor several times: in an external test with a target of one in "
        "1,000, one visitor in about 500 got in."
    )
    fmr = -math.expm1(math.log1p(-1 / report.one_stranger_in) / report.enrolled)
    if fmr > STRICT_FMR:
        advice.append(
            f"The gallery is small: this is a false match rate of 1 in {1 / fmr:,.0f} per person. NIST SP 800-63B-4 "
            "requires 1 in 10,000 or better."
        )
    rejected = chosen.fnir is not None and chosen.fnir.value > _MANY_REJECTED
    return ReportVerdict("warn" if rejected or report.strangers == 0 else "good", headline + ".", advice)


def _cells(row: CalibrationRow) -> list[str]:
    cells = [f"{row.one_stranger_in:,.0f}", f"{row.threshold_sq:.3f}", _percent(row.fpir.value), _interval(row.fpir)]
    return cells + (["not measured", ""] if row.fnir is None else [_percent(row.fnir.value), _interval(row.fnir)])


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _interval(rate: Rate) -> str:
    return "not known" if math.isnan(rate.low) else f"{100 * rate.low:.2g} to {100 * rate.high:.2g} %"
