"""The report as one HTML file that needs no other: figures, plots and the worst errors as pictures."""

from __future__ import annotations

from pathlib import Path

from edge.core.errors import ImageError
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import plot
from threshold_tools.evaluate.report import EvaluationReport
from threshold_tools.evaluate.text_report import MISIDENTIFIED, format_report, interval, percent, spread
from threshold_tools.evaluate.verification import Sweep
from threshold_tools.html import data_uri, render, thumbnail_uri

_SHOWN_FMRS = (1e-3, 1e-4, 1e-5)
_PICTURE_PX = 128
_KEY_FPIR = 1e-2
_FAILED = 200  # photos named

Figure = tuple[str, list[str], list[str]]  # caption, paths, pictures: "" where there is none


def page(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None) -> str:
    """The page.

    Args:
        report: the figures.
        photos: what was measured.
        swept: all pairs, where they were asked for.
        folder: where the photos are, or None: then the worst errors are named, not shown.
    """
    return render(
        "evaluate.html",
        title=f"Evaluation of {Path(report.source).name}",
        summary=_summary(report),
        plots=[(name, data_uri(svg.encode(), "image/svg+xml")) for name, svg in _plots(report, photos, swept)],
        closed=report.closed_set,
        errors=_errors(report, photos, swept, folder),
        text=format_report(report),
        failed=report.acquisition.failed[:_FAILED],
        percent=percent,
        spread=spread,
    )


def _summary(report: EvaluationReport) -> list[tuple[str, str]]:
    acquired = report.acquisition
    rows = [
        ("photos, people", f"{acquired.photos:,}, {acquired.people:,}"),
        ("no face found", f"{acquired.failures:,} ({percent(acquired.rate)})"),
    ]
    if report.ten_fold:
        fold = report.ten_fold
        rows.append(
            (f"accuracy in {fold.folds} folds", f"{percent(fold.accuracy.mean)} ± {percent(fold.standard_error)}")
        )
    if report.all_pairs:
        rows.append(("EER over all pairs", percent(report.all_pairs.eer, 3)))
        rows += [
            (f"TAR at FMR {row.fmr:.0e}", f"{percent(row.tar)}, threshold_sq {row.threshold_sq:.3f}")
            for row in report.all_pairs.at
        ]
    if report.closed_set:
        closed = report.closed_set
        door = closed.classifiers[0]
        rows.append((f"closed set of {closed.people:,} people, {door.name}", spread(door.accuracy)))
    rows += [
        (f"FNIR at FPIR 1 %, {each.images} enrolled, {name}", interval(row.fnir))
        for each in report.open_set
        for name, found in (("single photos", each.single), ("tracks of 3", each.fused))
        for row in found
        if row.fpir == _KEY_FPIR
    ]
    return rows


def _plots(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None) -> list[tuple[str, str]]:
    """Names and SVGs."""
    plots = []
    if report.all_pairs and swept:
        rows = [row for row in report.all_pairs.at if row.fmr in _SHOWN_FMRS]
        plots += [("DET", plot.det(report.all_pairs)), ("distances", plot.histograms(swept, rows))]
    if report.open_set:
        plots.append(("open set", plot.open_sets(report.open_set)))
    projected = plot.projection(photos)
    if projected:
        plots.append(("projection", projected))
    return plots


def _errors(
    report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None
) -> list[tuple[str, list[Figure]]]:
    """Headings, and the pairs of photos below each."""
    errors = []
    closed = report.closed_set
    if closed and closed.misnamed:
        figures = [
            _figure(
                f"named {each.named} in {each.wrong} of {each.tried} splits; {each.distance_sq:.3f} to the nearest",
                [each.path, each.nearest_path],
                folder,
            )
            for each in closed.misnamed[:MISIDENTIFIED]
        ]
        errors.append((f"Misnamed by {closed.classifiers[0].name}, with the other's nearest photo", figures))
    if swept:
        for heading, pairs in (
            ("Worst false matches: two people, nearest pairs", swept.false_matches),
            ("Worst false non-matches: one person, farthest pairs", swept.false_non_matches),
        ):
            figures = [
                _figure(f"distance {distance_sq:.3f}", [photos.paths[first], photos.paths[second]], folder)
                for distance_sq, first, second in pairs
            ]
            errors.append((heading, figures))
    return errors


def _figure(caption: str, paths: list[str], folder: Path | None) -> Figure:
    return caption, paths, [_picture(folder / path) for path in paths] if folder else []


def _picture(path: Path) -> str:
    try:
        return thumbnail_uri(path, 2 * _PICTURE_PX)
    except ImageError:
        return ""
