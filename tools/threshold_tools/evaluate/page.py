"""The report as one HTML file that needs no other: figures, plots and the worst errors as pictures."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from edge.core.errors import ImageError
from threshold_tools import pages
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import plot
from threshold_tools.evaluate.report import MISNAMED, ClosedSet, Report, interval, percent, show, spread
from threshold_tools.evaluate.verification import Sweep

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


def page(report: Report, photos: LabelledEmbeddings, swept: Sweep | None, folder: Path | None) -> str:
    """The page.

    Args:
        report: the figures.
        photos: what was measured.
        swept: all pairs, where they were asked for.
        folder: where the photos are, or None: then the worst errors are named, not shown.
    """
    title = f"Evaluation of {Path(report.source).name}"
    parts = [pages.HEAD, f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"]
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
    if report.closed_set:
        parts += _classifiers(report.closed_set, folder)
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
        door = closed.classifiers[0]
        rows.append((f"closed set of {closed.people:,} people, {door.name}", spread(door.accuracy)))
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


def _classifiers(closed: ClosedSet, folder: Path | None) -> list[str]:
    """The classifiers side by side, and the photos that the door's misnamed."""
    told = (
        f"{closed.people:,} people with 10 photos or more, {closed.splits} random 80/20 splits, mean ± standard "
        f'deviation. FNIR: answered by "unknown" or wrongly, where the limit of "unknown" keeps half of '
        f"{closed.strangers:,} strangers to FPIR {percent(closed.wished_fpir, 0)}; FPIR is that of the other half."
    )
    heads = ["classifier", "named rightly", "FNIR", "FPIR, others", "somebody new"]
    timed = closed.classifiers[0].learn_ms is not None
    heads += ["learn everybody, ms", "add a person, ms", "name a photo, ms"] if timed else []
    rows = []
    for each in closed.classifiers:
        cells = [each.name, spread(each.accuracy), spread(each.fnir), spread(each.fpir)]
        cells.append("everybody is learnt anew" if each.retrains else "is added")
        if timed:
            cells += [f"{each.learn_ms:,.1f}", f"{each.add_ms:,.2f}", f"{each.probe_ms:.3f}"]
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in heads)
    parts = ["<h2>Classifiers of the closed set</h2>", f"<p>{html.escape(told)}</p>"]
    parts.append(f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>")
    if closed.misnamed:
        figures = [
            _figure(
                f"named {each.named} in {each.wrong} of {each.tried} splits; {each.distance_sq:.3f} to the nearest",
                [each.path, each.nearest_path],
                folder,
            )
            for each in closed.misnamed[:MISNAMED]
        ]
        parts += [f"<h2>Misnamed by {html.escape(closed.classifiers[0].name)}, with the other's nearest photo</h2>"]
        parts += [f"<p>{_DOUBT}</p>", f'<div class="pairs">{"".join(figures)}</div>']
    return parts


def _pictures(
    title: str, pairs: list[tuple[float, int, int]], photos: LabelledEmbeddings, folder: Path | None
) -> list[str]:
    figures = [
        _figure(f"distance {distance_sq:.3f}", [photos.paths[first], photos.paths[second]], folder)
        for distance_sq, first, second in pairs
    ]
    return [f"<h2>{title}</h2>", f"<p>{_DOUBT}</p>", f'<div class="pairs">{"".join(figures)}</div>']


def _figure(told: str, ends: list[str], folder: Path | None) -> str:
    images = f"<div>{''.join(_picture(folder / end) for end in ends)}</div>" if folder else ""
    names = "<br>".join(html.escape(end) for end in ends)
    return f"<figure>{images}<figcaption><b>{html.escape(told)}</b>{names}</figcaption></figure>"


def _picture(path: Path) -> str:
    try:
        return pages.thumbnail_uri(path, 2 * _PICTURE_PX)
    except ImageError:
        return "<i></i>"
