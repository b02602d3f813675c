"""The report as one HTML file that needs no other: figures, plots and the worst errors as pictures."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2

from edge.errors import ImageError
from edge.vision.camera import read_image
from evaluation import plot
from evaluation.pairs import Sweep
from evaluation.report import Report, interval, percent, show
from evaluation.vectors import Photos

_SHOWN_FMRS = (1e-3, 1e-4, 1e-5)
_PICTURE_PX = 128
_KEY_FPIR = 1e-2
_DOUBT = (
    "Look at the labels first: a photo under the wrong name stands here, too, and weighs most in the strictest rates."
)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 84rem; padding: 0 1rem; color: #222;
  background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .2rem 0 .6rem; max-width: 60rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; }
td + td { font-variant-numeric: tabular-nums; } tr { border-top: 1px solid #ddd; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.plots img { flex: 1 1 30rem; max-width: min(100%, 41rem); min-width: 0; }
.plots img.wide { flex-basis: 100%; max-width: 100%; } .pairs { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 17rem; } figure div { display: flex; gap: .3rem; }
figure img, figure i { width: 8.3rem; height: 8.3rem; object-fit: contain; background: #eee; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } figcaption b { display: block; }
pre { font-size: 12px; line-height: 1.35; overflow-x: auto; background: #f6f6f6; padding: .8rem; }
"""
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)


def page(report: Report, photos: Photos, swept: Sweep | None, folder: Path | None) -> str:
    """The page.

    Args:
        report: the figures.
        photos: what was measured.
        swept: all pairs, where they were asked for.
        folder: where the photos are, or None: then the worst errors are named, not shown.
    """
    title = f"Evaluation of {Path(report.source).name}"
    parts = [_HEAD, f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"]
    parts += [f"<h1>{html.escape(title)}</h1>", _summary(report), '<div class="plots">']
    if report.all_pairs and swept:
        rows = [row for row in report.all_pairs.at if row.fmr in _SHOWN_FMRS]
        parts += [_plot(plot.det(report.all_pairs), "DET"), _plot(plot.histograms(swept, rows), "distances")]
    if report.open_set:
        parts.append(_plot(plot.open_sets(report.open_set), "open set", wide=True))
    projected = plot.projection(photos)
    if projected:
        parts.append(_plot(projected, "projection"))
    parts.append("</div>")
    if swept:
        parts += _pictures("Worst false matches: two people, nearest pairs", swept.false_matches, photos, folder)
        parts += _pictures(
            "Worst false non-matches: one person, farthest pairs", swept.false_non_matches, photos, folder
        )
    parts += ["<h2>All figures</h2>", f"<pre>{html.escape(show(report))}</pre>"]
    if report.acquisition.failed:
        names = html.escape(", ".join(report.acquisition.failed[:200]))
        parts.append(f"<h2>Photos without a face</h2><p>{names}</p>")
    return "\n".join(parts) + "\n</body></html>\n"


def _summary(report: Report) -> str:
    got = report.acquisition
    rows = [
        ("photos, people", f"{got.photos:,}, {got.people:,}"),
        ("no face found", f"{got.failures:,} ({percent(got.rate)})"),
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
        told = f"{percent(closed.nearest_centroid.mean)} ± {percent(closed.nearest_centroid.spread)}"
        rows.append((f"closed set of {closed.people:,} people, nearest centroid", told))
    for each in report.open_set:
        for name, found in (("single photos", each.single), ("tracks of 3", each.fused)):
            rows += [
                (f"FNIR at FPIR 1 %, {each.images} enrolled, {name}", interval(row.fnir))
                for row in found
                if row.fpir == _KEY_FPIR
            ]
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(told)}</td></tr>" for name, told in rows)
    return f"<table>{cells}</table>"


def _plot(svg: str, name: str, *, wide: bool = False) -> str:
    coded = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{name}"{" class=wide" if wide else ""} src="data:image/svg+xml;base64,{coded}">'


def _pictures(title: str, pairs: list[tuple[float, int, int]], photos: Photos, folder: Path | None) -> list[str]:
    figures = []
    for distance_sq, first, second in pairs:
        ends = [photos.paths[first], photos.paths[second]]
        images = f"<div>{''.join(_picture(folder / end) for end in ends)}</div>" if folder else ""
        names = "<br>".join(html.escape(end) for end in ends)
        figures.append(f"<figure>{images}<figcaption><b>distance {distance_sq:.3f}</b>{names}</figcaption></figure>")
    return [f"<h2>{title}</h2>", f"<p>{_DOUBT}</p>", f'<div class="pairs">{"".join(figures)}</div>']


def _picture(path: Path) -> str:
    try:
        pixels = read_image(path)
    except ImageError:
        return "<i></i>"
    scale = min(_PICTURE_PX * 2 / max(pixels.shape[:2]), 1)
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    coded = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{coded}">'
