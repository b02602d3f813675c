"""The calibration as one HTML file: rates, and plots of how far strangers and enrolled people are from the gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from threshold_tools.calibrate.rates import ImpostorModel
from threshold_tools.calibrate.report import CalibrationReport, CalibrationRow, document
from threshold_tools.reports.charts import Chart, ChartAxis
from threshold_tools.reports.page import render
from threshold_tools.stats import Reals

_ENROLLED, _STRANGERS = 1, 2  # colours
_BINS = 60
_DISTANCE = "squared distance, lower is nearer"


def page(report: CalibrationReport, out: Path, impostors: ImpostorModel | None, genuine_sq: Reals | None) -> str:
    """The page.

    Args:
        report: rates of the calibration.
        out: gallery that was written.
        impostors: distances of strangers, or None if the embedder's table was used.
        genuine_sq: (M,) base threshold at which each attempt of an enrolled person is accepted, or None.
    """
    chosen = next(row for row in report.rows if row.one_stranger_in == report.one_stranger_in)
    charts = [_trade(report, chosen)]
    if impostors is not None:
        charts = [_distances(impostors, genuine_sq, chosen), _tail(impostors, chosen), *charts]
    told = document(report, out)
    return render("report.html", title=told.title, kind="calibration", document=told, charts=charts)


def _distances(impostors: ImpostorModel, genuine_sq: Reals | None, chosen: CalibrationRow) -> Chart:
    """Histograms of the distances of strangers and of enrolled people to the nearest person."""
    high = 0.5 * float(np.ceil(2 * max(2.0, float(impostors.critical_sq.max()))))
    edges = np.linspace(0, high, _BINS + 1)
    series = [(100 * np.histogram(impostors.critical_sq, edges, weights=impostors.weights)[0], _STRANGERS, "strangers")]
    if genuine_sq is not None and len(genuine_sq):
        enrolled = 100 * np.histogram(np.clip(genuine_sq, 0, high), edges)[0] / len(genuine_sq)
        series.append((enrolled, _ENROLLED, "enrolled people"))
    top = max(float(heights.max()) for heights, *_ in series)
    chart = Chart(
        "Distance to the nearest person",
        ChartAxis.linear(_DISTANCE, 0, high, 0.5),
        ChartAxis.linear("% of photos", 0, 1.1 * top, 5 if top > 12 else 2),
        "Photos left of the line are accepted.",
    )
    chart.bars(edges.tolist(), [(heights.tolist(), colour, label) for heights, colour, label in series], " %")
    chart.limit(x=chosen.threshold_sq, text=f"threshold {chosen.threshold_sq:.2f}")
    return chart


def _tail(impostors: ImpostorModel, chosen: CalibrationRow) -> Chart:
    """Share of strangers accepted at each threshold, as counted and as fitted."""
    order = np.argsort(impostors.critical_sq)
    counted = np.column_stack([impostors.critical_sq[order], 100 * np.cumsum(impostors.weights[order])])
    base, number = chosen.threshold_sq, chosen.one_stranger_in
    low = 0.1 * np.floor(10 * (min(base, float(counted[0, 0])) - 0.1))
    high = max(impostors.tail.cut + 0.2, base + 0.2)
    chart = Chart(
        "Strangers accepted",
        ChartAxis.linear("threshold, lower is stricter", float(low), float(high), 0.2 if high - low < 1.5 else 0.5),
        ChartAxis.logarithmic("% of strangers' photos", 20 / number, 100),
        f"The dashed line is the fit; the level line is the target, one in {number:,.0f}.",
    )
    along = np.linspace(float(low), impostors.tail.cut - 1e-6, 160)
    fitted = [(float(value), 100 * impostors.share(float(value))) for value in along]
    fitted = [point for point in fitted if point[1] >= chart.y.low]
    shown = counted[counted[:, 0] <= high].tolist()
    chart.steps([(x, y) for x, y in shown], _STRANGERS, "counted", tip=_accepted)
    chart.line(fitted, 0, "fitted", dashed=True, tip=_accepted)
    chart.limit(x=base, text=f"threshold {base:.2f}")
    chart.limit(y=100 / number, text=f"target: one in {number:,.0f}")
    return chart


def _trade(report: CalibrationReport, chosen: CalibrationRow) -> Chart:
    """Rates of all targets by threshold."""
    rows = sorted(report.rows, key=lambda row: row.threshold_sq)
    span = rows[-1].threshold_sq - rows[0].threshold_sq or 0.1
    low = 0.1 * float(np.floor(10 * (rows[0].threshold_sq - 0.05 * span)))
    high = 0.1 * float(np.ceil(10 * (rows[-1].threshold_sq + 0.05 * span)))
    chart = Chart(
        "What each threshold costs",
        ChartAxis.linear("threshold, lower is stricter", low, high, 0.1 if high - low < 0.9 else 0.2),
        ChartAxis.percent_from_zero("% of photos, from 0"),
        "Strangers accepted against enrolled people rejected.",
    )
    chart.line([(row.threshold_sq, 100 * row.fpir.value) for row in rows], _STRANGERS)
    chart.dots(
        [
            (row.threshold_sq, 100 * row.fpir.value, f"{row.threshold_sq:.2f}: {100 * row.fpir.value:.3g} % accepted")
            for row in rows
        ],
        _STRANGERS,
        "strangers accepted",
    )
    rejected = [(row.threshold_sq, 100 * row.fnir.value) for row in rows if row.fnir is not None]
    chart.line(rejected, _ENROLLED)
    if rejected:
        texts = [(x, y, f"{x:.2f}: {y:.3g} % rejected") for x, y in rejected]
        chart.dots(texts, _ENROLLED, "enrolled people rejected")
    chart.limit(x=chosen.threshold_sq, text=f"threshold {chosen.threshold_sq:.2f}")
    return chart


def _accepted(threshold_sq: float, percent: float) -> str:
    return f"threshold {threshold_sq:.2f}: {percent:.3g} % of strangers accepted"
