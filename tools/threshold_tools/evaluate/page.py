"""The evaluation as one HTML file: figures, plots and the worst errors as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import ClosedSet, EvaluationReport, OpenSet, TarAtFar, VerificationResult
from threshold_tools.evaluate.tables import MISIDENTIFIED, document
from threshold_tools.evaluate.verification import BINS, Sweep
from threshold_tools.reports.charts import Chart, ChartAxis
from threshold_tools.reports.page import render, thumbnail_uri

_SHOWN_FMRS = (1e-3, 1e-4, 1e-5)
_PROJECTED = 10  # people; a map of more has too few colours
_PROJECTED_PHOTOS = 60  # of one person
_TICKS = ((1e-5, "0.001"), (1e-4, "0.01"), (1e-3, "0.1"), (1e-2, "1"), (0.05, "5"), (0.2, "20"), (0.5, "50"))
_LOWEST, _TOP = 5e-7, 0.6  # rates at the ends of a DET plot
_MERGED = 4  # bins of the sweep in one of the plot
_THUMB_PX = 256
_SAME, _OTHER = 1, 2  # colours of pairs of one person, and of two


@dataclass(frozen=True, slots=True)
class PhotoPairs:
    """Pairs of photos under a heading: caption, two paths, two data URIs ("" for a photo that is not shown)."""

    heading: str
    pairs: Sequence[tuple[str, Sequence[str], Sequence[str]]]


def page(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None) -> str:
    """The page; without the folder of the photos, the worst errors are named and not shown."""
    told = document(report)
    return render(
        "evaluate.html",
        title=told.title,
        kind="evaluation",
        document=told,
        charts=_charts(report, photos, swept),
        worst=_worst(report.closed_set, photos, swept, folder),
        shown=folder is not None,
    )


def _worst(
    closed: ClosedSet | None, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None
) -> list[PhotoPairs]:
    """The worst errors of each kind."""

    def pair(caption: str, *paths: str) -> tuple[str, Sequence[str], Sequence[str]]:
        return caption, paths, [thumbnail_uri(folder / path, _THUMB_PX) if folder else "" for path in paths]

    found = []
    if closed and closed.misnamed:
        pairs = [
            pair(f"named {each.named}, distance {each.distance_sq:.2f}", each.path, each.nearest_path)
            for each in closed.misnamed[:MISIDENTIFIED]
        ]
        found.append(PhotoPairs("Misnamed photos, each with the nearest photo of the wrong person", pairs))
    for heading, worst in (
        ("Most similar photos of two people", swept.false_matches if swept else []),
        ("Least similar photos of one person", swept.false_non_matches if swept else []),
    ):
        pairs = [
            pair(f"distance {distance_sq:.2f}", photos.paths[first], photos.paths[second])
            for distance_sq, first, second in worst
        ]
        if pairs:
            found.append(PhotoPairs(heading, pairs))
    return found


def _charts(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None) -> list[Chart]:
    charts = []
    if report.open_set:
        charts += [_open_set(report.open_set, tracks=tracks) for tracks in (True, False)]
    if report.all_pairs and swept:
        rows = [row for row in report.all_pairs.at if row.fmr in _SHOWN_FMRS]
        charts += [_histogram(swept, rows, logarithmic=False), _histogram(swept, rows, logarithmic=True)]
        charts.append(_det(report.all_pairs))
    projected = _projection(photos)
    return [*charts, projected] if projected else charts


def _det(pairs: VerificationResult) -> Chart:
    """The DET curve on normal-deviate axes (Martin et al. 1997): normally distributed scores make a straight line."""
    lowest = [max(0.5 / count, _LOWEST) for count in (pairs.non_mated, pairs.mated)]
    x, y = (
        ChartAxis(label, low, _TOP, [tick for tick in _TICKS if tick[0] >= low], lambda value: float(ndtri(value)))
        for label, low in zip(("FMR, % of pairs of two people", "FNMR, % of pairs of one person"), lowest, strict=True)
    )
    chart = Chart("False matches against false non-matches", x, y, "DET curve over all pairs; dots show thresholds.")
    shown = [(x, y) for x, y in pairs.det if lowest[0] <= x <= _TOP and lowest[1] <= y <= _TOP]
    chart.line(shown, _SAME, tip=lambda x, y: f"FMR {100 * x:.2g} %, FNMR {100 * y:.2g} %")
    for row in pairs.at:
        if 1 - row.tar >= lowest[1]:
            text = f"threshold {row.threshold_sq:.2f}: FMR {100 * row.fmr:.2g} %, FNMR {100 * (1 - row.tar):.2g} %"
            chart.dots([(row.fmr, 1 - row.tar, text)], _OTHER, size=4.5)
            chart.text_at((row.fmr, 1 - row.tar), f"{row.threshold_sq:.2f}")
    return chart


def _histogram(swept: Sweep, rows: Sequence[TarAtFar], *, logarithmic: bool) -> Chart:
    """How far pairs of one person and of two are apart, with the thresholds at some FMRs."""
    same = 100 * swept.genuine_bins.reshape(-1, _MERGED).sum(axis=1) / len(swept.genuine_sq)
    other = 100 * swept.impostor_bins.reshape(-1, _MERGED).sum(axis=1) / swept.impostor_count
    edges = BINS[::_MERGED]
    high = 0.5 * float(np.ceil(2 * edges[np.flatnonzero(same + other)[-1] + 1]))
    top = 1.1 * float(max(same.max(), other.max()))
    least = float(min(each[each > 0].min() for each in (same, other)))
    vertical = (
        ChartAxis.logarithmic("% of pairs, logarithmic", 10 ** float(np.floor(np.log10(least))), 100)
        if logarithmic
        else ChartAxis.linear("% of pairs", 0, top, 2 if top < 9 else 5)
    )
    title, note = (
        ("Rare pairs", "The same on a logarithmic scale, which shows the overlap.")
        if logarithmic
        else ("Distances of all pairs", "Pairs left of a line are taken for one person, at the FMR on the line.")
    )
    chart = Chart(title, ChartAxis.linear("squared distance, lower is nearer", 0, high, 0.5), vertical, note)
    last = int(np.searchsorted(edges, high - 1e-9))
    series = [(other[:last].tolist(), _OTHER, "two people"), (same[:last].tolist(), _SAME, "one person")]
    chart.bars(edges[: last + 1].tolist(), series, " %")
    for level, row in enumerate(sorted(rows, key=lambda row: row.threshold_sq)):
        chart.limit(x=row.threshold_sq, text=f"FMR {100 * row.fmr:g} %", level=level)
    return chart


def _open_set(sets: Sequence[OpenSet], *, tracks: bool) -> Chart:
    """FNIR with its interval by the number of enrolled photos, for each FPIR."""
    places = ChartAxis(
        "photos enrolled of each person", -0.5, len(sets) - 0.5,
        [(float(place), str(each.images)) for place, each in enumerate(sets)],
    )  # fmt: skip
    chart = Chart(
        "Visits refused (tracks of 3 photos)" if tracks else "Single photos refused",
        places,
        ChartAxis.percent_from_zero("FNIR, %, with 95 % interval"),
        "Share of enrolled people's searches that fail, by the share of strangers that get in.",
    )
    rates = [each.fused if tracks else each.single for each in sets]
    fpirs = sorted({row.fpir for some in rates for row in some}, reverse=True)
    for number, fpir in enumerate(fpirs):
        points = [
            (place + (number - 1) * 0.12, row) for place, some in enumerate(rates) for row in some if row.fpir == fpir
        ]
        colour = number + 1
        chart.spans(((x, 100 * row.fnir.low, 100 * row.fnir.high) for x, row in points), colour)
        texts = [
            (x, 100 * row.fnir.value, f"threshold {row.threshold_sq:.2f}: FNIR {100 * row.fnir.value:.2g} %")
            for x, row in points
        ]
        chart.dots(texts, colour, f"one stranger in {1 / fpir:,.0f} gets in", size=4.5)
    return chart


def _projection(photos: LabelledEmbeddings) -> Chart | None:
    """The most photographed people in the plane in which their vectors spread most; None of fewer than three."""
    found = np.bincount(photos.people, photos.found, len(photos.names)).astype(np.int64)
    chosen = [int(person) for person in np.argsort(-found, kind="stable")[:_PROJECTED] if found[person] > 1]
    if len(chosen) < 3:
        return None
    rows = [np.flatnonzero((photos.people == person) & photos.found)[:_PROJECTED_PHOTOS] for person in chosen]
    centres = np.stack([photos.vectors[own].mean(axis=0) for own in rows])
    middle = centres.mean(axis=0)
    plane = np.linalg.svd(centres - middle, full_matrices=False)[2][:2]
    flat = [(photos.vectors[own] - middle) @ plane.T for own in rows]
    reach = 1.1 * float(max(np.abs(each).max() for each in flat))
    axes = (ChartAxis("", -reach, reach, []), ChartAxis("", -reach, reach, []))
    chart = Chart("Map of the most photographed people", *axes, "Photos of one person should form one group.")
    for number, (person, own, points) in enumerate(zip(chosen, rows, flat, strict=True)):
        name = photos.names[person].replace("_", " ")
        texts = [(*point, photos.paths[row]) for point, row in zip(points.tolist(), own.tolist(), strict=True)]
        chart.dots(texts, number + 1, name)
    return chart
