"""The report as one HTML file that needs no other: figures, plots and the worst errors as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import (
    MISIDENTIFIED,
    EvaluationReport,
    OpenSet,
    TarAtFar,
    VerificationResult,
    format_report,
    interval,
    percent,
    spread,
)
from threshold_tools.evaluate.verification import BINS, Sweep
from threshold_tools.html import data_uri, render, thumbnail_uri
from threshold_tools.plots import ENROLLED, GRID, LINE, STRANGERS, new_figure, to_svg

_SHOWN_FMRS = (1e-3, 1e-4, 1e-5)
_PROJECTED = 10  # people; a map of more has too few colours
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5)
_LABELS = ("0.0001", "0.001", "0.01", "0.1", "1", "5", "20", "50")


def page(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None) -> str:
    """The page; without the folder that the photos lie in, the worst errors are named, not shown."""
    return render(
        "evaluate.html",
        title=f"Evaluation of {Path(report.source).name}",
        report=report,
        plots=[(name, data_uri(svg.encode(), "image/svg+xml")) for name, svg in _plots(report, photos, swept)],
        photos=photos,
        swept=swept,
        folder=folder,
        thumbnail_uri=thumbnail_uri,
        misidentified=MISIDENTIFIED,
        text=format_report(report),
        percent=percent,
        spread=spread,
        interval=interval,
    )


def _plots(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None) -> list[tuple[str, str]]:
    """Names and SVGs."""
    plots = []
    if report.all_pairs and swept:
        rows = [row for row in report.all_pairs.at if row.fmr in _SHOWN_FMRS]
        plots += [("DET", _det(report.all_pairs)), ("distances", _histograms(swept, rows))]
    if report.open_set:
        plots.append(("open set", _open_sets(report.open_set)))
    projected = _projection(photos)
    if projected:
        plots.append(("projection", projected))
    return plots


def _det(pairs: VerificationResult) -> str:
    """The DET curve on normal-deviate axes (Martin et al. 1997): normally distributed scores make a straight line."""
    figure = new_figure(6.5, 6)
    axes = figure.subplots()
    lowest = (max(0.5 / pairs.non_mated, _TICKS[0] / 2), max(0.5 / pairs.mated, _TICKS[0] / 2))
    shown = np.array([point for point in pairs.det if point[0] >= lowest[0] and point[1] >= lowest[1]])
    if len(shown):
        axes.plot(ndtri(np.clip(shown[:, 0], 0, 0.6)), ndtri(np.clip(shown[:, 1], 0, 0.6)), color=ENROLLED)
    for row in pairs.at:
        if 1 - row.tar >= lowest[1]:
            axes.plot(ndtri(row.fmr), ndtri(1 - row.tar), "o", color=STRANGERS, markersize=5)
            text = f"{row.threshold_sq:.2f}"
            axes.annotate(text, (ndtri(row.fmr), ndtri(1 - row.tar)), xytext=(6, 4), textcoords="offset points")
    ends = ndtri([_TICKS[0] / 2, 0.6])
    axes.plot(ends, ends, color="#aaaaaa", linewidth=0.8, linestyle=":")
    for which in (axes.xaxis, axes.yaxis):
        which.set_ticks(ndtri(_TICKS).tolist(), list(_LABELS))
    axes.set_xlim(ndtri(lowest[0]), ndtri(0.6))
    axes.set_ylim(ndtri(lowest[1]), ndtri(0.6))
    axes.grid(color=GRID)
    axes.set_xlabel("FMR, % of pairs of two people that match")
    axes.set_ylabel("FNMR, % of pairs of one person that do not")
    axes.set_title("DET over all pairs; numbers are threshold_sq")
    return to_svg(figure, "det")


def _histograms(swept: Sweep, rows: Sequence[TarAtFar]) -> str:
    """How far pairs of one person and of two are apart, with the thresholds at some FMRs."""
    figure = new_figure(6.5, 6)
    above, under = figure.subplots(2, 1, sharex=True)
    for axes in (above, under):
        stairs = partial(axes.stairs, edges=BINS, alpha=0.6, fill=True)
        stairs(swept.genuine_bins / len(swept.genuine_sq), color=ENROLLED, label="one person")
        stairs(swept.impostor_bins / swept.impostor_count, color=STRANGERS, label="two people")
        for row in rows:
            axes.axvline(row.threshold_sq, color=LINE, linewidth=0.8)
            if axes is above:
                place = (row.threshold_sq, 1.0)
                text = f"FMR {row.fmr:.0e}"
                axes.annotate(
                    text, place, (-3, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                    rotation=90, ha="right", va="top", fontsize=8,
                )  # fmt: skip
    above.set_title("Distances of all pairs, and thresholds at some FMRs")
    above.set_ylabel("share of pairs")
    under.set_ylabel("the same, logarithmic")
    under.set_yscale("log")
    seen = np.flatnonzero(swept.impostor_bins + swept.genuine_bins)
    under.set_xlim(0, float(BINS[seen[-1] + 1]))
    under.set_xlabel("squared distance, 0 to 4; lower is nearer")
    above.legend(loc="center right")
    return to_svg(figure, "histograms")


def _open_sets(sets: Sequence[OpenSet]) -> str:
    """FNIR by the number of enrolled photos, for each FPIR, single photos and tracks."""
    figure = new_figure(13, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, fused in zip(panels, (False, True), strict=True):
        fpirs = sorted({row.fpir for each in sets for row in (each.fused if fused else each.single)}, reverse=True)
        for number, fpir in enumerate(fpirs):
            points = [
                (place + (number - 1) * 0.08, row.fnir)
                for place, each in enumerate(sets)
                for row in (each.fused if fused else each.single)
                if row.fpir == fpir
            ]
            values = 100 * np.array([[rate.value, rate.low, rate.high] for _, rate in points])
            spans = np.abs(values[:, 1:] - values[:, :1]).T
            axes.errorbar([x for x, _ in points], values[:, 0], spans, fmt="o", capsize=3, label=f"FPIR {fpir:.0e}")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(-0.02, 120)
        axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        axes.set_xticks(range(len(sets)), [str(each.images) for each in sets])
        axes.set_xlim(-0.5, len(sets) - 0.5)
        axes.grid(axis="y", color=GRID)
        axes.set_xlabel("photos enrolled of each person")
        axes.set_title("tracks of 3 photos, fused" if fused else "single photos")
        if fpirs:
            axes.legend()
    panels[0].set_ylabel("FNIR, %, and 95 % interval")
    return to_svg(figure, "open")


def _projection(photos: LabelledEmbeddings) -> str | None:
    """The most photographed people in the plane in which their vectors spread most; None of fewer than three."""
    found = np.bincount(photos.people, photos.found, len(photos.names)).astype(np.int64)
    chosen = [int(person) for person in np.argsort(-found, kind="stable")[:_PROJECTED] if found[person] > 1]
    if len(chosen) < 3:
        return None
    rows = [np.flatnonzero((photos.people == person) & photos.found)[:60] for person in chosen]
    centres = np.stack([photos.vectors[own].mean(axis=0) for own in rows])
    middle = centres.mean(axis=0)
    plane = np.linalg.svd(centres - middle, full_matrices=False)[2][:2]
    figure = new_figure(6.5, 6)
    axes = figure.subplots()
    for number, (person, own) in enumerate(zip(chosen, rows, strict=True)):
        flat = (photos.vectors[own] - middle) @ plane.T
        axes.plot(flat[:, 0], flat[:, 1], ".", color=f"C{number}", label=photos.names[person].replace("_", " "))
    axes.set_title("The most photographed people, projected onto a plane")
    axes.set_aspect("equal", "datalim")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return to_svg(figure, "projection")
