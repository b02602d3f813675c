"""The explanation as one HTML file that needs no other."""

from __future__ import annotations

import html
from pathlib import Path

from edge.core.records import AccessOutcome
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.explain import drawing
from threshold_tools.explain.photo import ExplainedPhoto, format_part
from threshold_tools.explain.report import Explanation, NearestPerson, PhotoReport
from threshold_tools.explain.text_report import SCALE, drives, strangers

_STYLE = """
:root { --good: #2e7d4f; --bad: #b3452c; --doubt: #9a6b00; --line: #ddd; --soft: #667; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 78rem; padding: 0 1rem; color: #222;
  background: #fff; }
h1 { font-size: 1.4rem; margin: 0 0 .6rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; }
p { margin: .2rem 0 .5rem; max-width: 60rem; } .soft, figcaption { color: var(--soft); font-size: .85rem; }
.verdict { border-left: 6px solid var(--doubt); background: #f6f6f4; padding: .6rem 1rem; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.verdict p { margin: .1rem 0; } .verdict p:first-child { font-weight: 600; }
section { border-top: 1px solid var(--line); padding: .6rem 0; } section h2 { margin: .2rem 0 .5rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-end; } figure { margin: 0; }
figure img { display: block; max-width: 100%; height: 15rem; border-radius: 3px; }
table { border-collapse: collapse; } td, th { padding: .2rem 1.2rem .2rem 0; text-align: left; }
td.n { font-variant-numeric: tabular-nums; } tr { border-top: 1px solid var(--line); }
.fail { color: var(--bad); font-weight: 600; } .pass { color: var(--good); } svg { display: block; max-width: 100%; }
svg text { font: 13px system-ui, sans-serif; }
"""
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)
_DRIVE = (
    "A grey patch slides over the aligned face, and the distance is taken anew. Blue: covering it drives the two "
    "apart, so what is there speaks for one person. Orange: covering it brings them nearer: it speaks for two."
)
_BAR_PX, _LEFT_PX, _TOP_PX = 720, 20, 44


def page(found: Explanation, a: ExplainedPhoto, b: ExplainedPhoto | None) -> str:
    """The page."""
    title = f"{Path(found.a.photo).name} and {Path(found.b.photo).name if found.b else found.target.name}"
    parts = [
        f"{_HEAD}<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        _verdict(found),
        "<h2>Distance</h2>",
        _bar(found),
        f'<p class="soft">Squared distance between unit vectors, 0 to 4. {SCALE} {html.escape(strangers(found))}</p>',
        _photo("A", found.a, a, "comes to the door"),
    ]
    if b is not None and found.b is not None:
        role = "held against A as if it were enrolled"
        parts.append(_photo("B", found.b, b, role if not found.gallery else f"{role}; {found.gallery} aside"))
    else:
        parts.append(
            f"<section><h2>B: {html.escape(found.target.name)}</h2><p>Enrolled in {html.escape(found.gallery)}. "
            "A gallery holds vectors, no photos: there is nothing to show.</p></section>"
        )
    parts += ["<h2>Quality, and what a door asks for</h2>", _quality(found)]
    if found.nearest:
        parts += [f"<h2>Nearest to A in {html.escape(found.gallery)}</h2>", _people(found.nearest)]
    parts.append(f'<p class="soft">Embedder {html.escape(found.embedder_sha256[:12])}</p>')
    return "\n".join(parts) + "\n</body></html>\n"


def _verdict(found: Explanation) -> str:
    kind = {str(AccessOutcome.DOOR_OPEN): "good", str(AccessOutcome.DENIED): "bad", "": "bad"}.get(
        found.answer.kind, ""
    )
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in found.verdict)
    return f'<div class="verdict {kind}">{said}</div>'


def _bar(found: Explanation) -> str:
    """The scale, drawn: threshold, the distance asked for, and the others of the gallery as ticks."""

    def at(value: float) -> float:
        return _LEFT_PX + min(value, MAX_DISTANCE_SQ) / MAX_DISTANCE_SQ * _BAR_PX

    target = found.target
    limit, here, bottom = at(target.threshold_sq), at(target.distance_sq), _TOP_PX + 18
    colour = "#2e7d4f" if target.distance_sq <= target.threshold_sq else "#b3452c"
    others = "".join(
        f'<line x1="{at(each.distance_sq):.1f}" x2="{at(each.distance_sq):.1f}" y1="{_TOP_PX}" y2="{bottom}" '
        f'stroke="#555"><title>{html.escape(each.name)} {each.distance_sq:.2f}</title></line>'
        for each in found.nearest
        if each.id != target.id
    )
    ticks = "".join(
        f'<text x="{at(value)}" y="{_TOP_PX + 36}" text-anchor="middle" fill="#667">{value}</text>'
        for value in range(5)
    )
    return (
        f'<svg width="{_BAR_PX + 2 * _LEFT_PX}" viewBox="0 0 {_BAR_PX + 2 * _LEFT_PX} {_TOP_PX + 80}" role="img" '
        f'aria-label="distance {target.distance_sq:.2f}, threshold {target.threshold_sq:.2f}">'
        f'<rect x="{_LEFT_PX}" y="{_TOP_PX}" width="{_BAR_PX}" height="18" fill="#eee"/>'
        f'<rect x="{_LEFT_PX}" y="{_TOP_PX}" width="{limit - _LEFT_PX:.1f}" height="18" fill="#cfe6d6"/>'
        f'{others}{ticks}<path d="M{limit:.1f} {_TOP_PX - 6}V{bottom + 26}" stroke="#222" stroke-width="2"/>'
        f'<text x="{limit:.1f}" y="{_TOP_PX + 58}" text-anchor="middle">threshold {target.threshold_sq:.2f}</text>'
        f'<circle cx="{here:.1f}" cy="{_TOP_PX + 9}" r="7" fill="{colour}" stroke="#fff" stroke-width="2"/>'
        f'<text x="{min(max(here, 40), _BAR_PX):.1f}" y="{_TOP_PX - 14}" text-anchor="middle" font-weight="600" '
        f'fill="{colour}">distance {target.distance_sq:.2f}</text></svg>'
    )


def _photo(letter: str, shown: PhotoReport, subject: ExplainedPhoto, role: str) -> str:
    faces = "one face" if shown.faces == 1 else f"{shown.faces} faces; the largest, most central one is used (green)"
    pictures = [
        (drawing.full_photo(subject), f"{shown.width_px}x{shown.height_px} px, {faces}"),
        (drawing.face_crop(subject), "box, mesh and the five points"),
        (drawing.aligned(subject), "aligned: what the embedder gets"),
    ]
    drive = ""
    if shown.drive is not None:
        pictures.append((drawing.heatmap(subject, shown.drive), "what drives the distance"))
        drive = f'<p class="soft">{_DRIVE}</p><p>{html.escape("; ".join(drives(shown)))}</p>'
    figures = "".join(
        f'<figure><img alt="" src="{drawing.data_url(picture)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for picture, caption in pictures
    )
    name = html.escape(Path(shown.photo).name)
    return f'<section><h2>{letter}: {name}, {html.escape(role)}</h2><div class="row">{figures}</div>{drive}</section>'


def _quality(found: Explanation) -> str:
    columns = [found.a, found.b] if found.b else [found.a]
    head = "".join(f"<th>{letter}</th>" for letter in "AB"[: len(columns)])
    rows = [f"<tr><th></th>{head}<th>gate</th><th>full weight from</th></tr>"]
    for row, part in enumerate(found.a.parts):
        cells = "".join(_value(each, row) for each in columns)
        full = "" if part.full is None else f"{part.full:g}"
        rows.append(f"<tr><td>{html.escape(part.label)}</td>{cells}<td>{part.gate or '-'}</td><td>{full}</td></tr>")
    weights = "".join(f'<td class="n">{each.weight:.2f}</td>' for each in columns)
    refusals = "".join(
        f"<td class={'fail' if each.refusal else 'pass'}>{html.escape(each.refusal or 'taken')}</td>"
        for each in columns
    )
    rows.append(f"<tr><td>weight as evidence</td>{weights}<td>above 0</td><td></td></tr>")
    rows.append(f"<tr><td>at a door</td>{refusals}<td></td><td></td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _value(shown: PhotoReport, row: int) -> str:
    part = shown.parts[row]
    mark = "" if not part.gate else (" ✓" if part.ok else " ✗")
    tone = "" if not part.gate else (" pass" if part.ok else " fail")
    return f'<td class="n{tone}">{html.escape(format_part(part))}{mark}</td>'


def _people(nearest: list[NearestPerson]) -> str:
    rows = "".join(
        f'<tr><td>{rank}</td><td>{html.escape(each.name)}</td><td>{html.escape(each.id)}</td><td class="n">'
        f'{each.distance_sq:.2f}</td><td class="n">{each.threshold_sq:.2f}</td></tr>'
        for rank, each in enumerate(nearest, start=1)
    )
    head = "<tr><th></th><th>name</th><th>id</th><th>distance</th><th>threshold</th></tr>"
    return f"<table>{head}{rows}</table>"
