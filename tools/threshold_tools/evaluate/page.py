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


def page(report: EvaluationReport, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None) -> str:
    """The page.

    Args:
        report: the figures.
        photos: what was measured.
        swept: all pairs, where they were asked for.
        folder: where the photos are, or None: then the worst errors are named, not shown.
    """

    def picture(path: str) -> str:
        """A photo as a data URI, "" where it cannot be read."""
        assert folder is not None
        try:
            return thumbnail_uri(folder / path, 2 * _PICTURE_PX)
        except ImageError:
            return ""

    return render(
        "evaluate.html",
        title=f"Evaluation of {Path(report.source).name}",
        report=report,
        plots=[(name, data_uri(svg.encode(), "image/svg+xml")) for name, svg in _plots(report, photos, swept)],
        photos=photos,
        swept=swept,
        folder=folder,
        picture=picture,
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
        plots += [("DET", plot.det(report.all_pairs)), ("distances", plot.histograms(swept, rows))]
    if report.open_set:
        plots.append(("open set", plot.open_sets(report.open_set)))
    projected = plot.projection(photos)
    if projected:
        plots.append(("projection", projected))
    return plots
