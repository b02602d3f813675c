"""The page of unknown visitors as HTML."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from threshold_tools.monitor.enrol_unknown import EnrolResult
from threshold_tools.monitor.face_store import FaceGroups, StoredFace
from threshold_tools.monitor.history import AuditNote
from threshold_tools.monitor.layout import escaped

GROUPS = 20  # shown at once, the largest
FACES = 60  # of each
_LINES = 20  # of what was refused


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows.

    Attributes:
        grouped: the faces.
        known: whether the folder has been looked at.
        keep_days: how long faces are kept.
        folder: where.
        ids: of everybody in the people folder; None where nobody can be named.
        busy: a naming is under way.
        publishes: what is named goes to the doors.
        outcome: of the latest naming.
        most_like: who of those enrolled is nearest to some faces, in words; "" where that is not known.
        notes: what was done, newest first.
    """

    grouped: FaceGroups
    known: bool
    keep_days: float
    folder: Path
    ids: Sequence[str] | None
    busy: bool
    publishes: bool
    outcome: EnrolResult | None
    most_like: Callable[[Sequence[StoredFace]], str]
    notes: Sequence[AuditNote]


def unknown_page(shown: Shown, csrf: str) -> str:
    """The body of the page; `csrf` is the hidden field of forms."""
    if shown.busy:
        return _wait("The person is being enrolled.")
    if not shown.known:
        return _wait("The faces are being looked at.")
    grouped = shown.grouped
    count = sum(len(group) for group in grouped.groups) + len(grouped.ungrouped) + len(grouped.unusable)
    parts = [
        _outcome(shown.outcome, csrf) if shown.outcome else "",
        '<dl class="summary">'
        f"<div><dt>faces kept</dt><dd>{count}</dd></div><div><dt>groups</dt><dd>{len(grouped.groups)}</dd></div>"
        f"<div><dt>ungrouped</dt><dd>{len(grouped.ungrouped)}</dd></div>"
        f"<div><dt>kept for</dt><dd>{shown.keep_days:g} <small>days, then deleted</small></dd></div></dl>",
        _told(shown),
    ]
    if not count:
        parts.append(
            '<p class="empty">No face is kept. They come from doors whose door.toml says [snapshots] kinds = '
            "[&quot;unknown&quot;].</p>"
        )
    if shown.ids is not None:
        parts.append(
            f'<datalist id="ids">{"".join(f"<option>{escaped(each)}</option>" for each in shown.ids)}</datalist>'
        )
    for number, group in enumerate(grouped.groups[:GROUPS], 1):
        first, last = _day(group[-1].received_s), _day(group[0].received_s)
        since = first if first == last else f"{first} to {last}"
        doors = ", ".join(sorted({crop.door for crop in group}))
        title = f"Group {number} <small>{len(group)} faces · {escaped(doors)} · {since}</small>"
        parts.append(_group(f"g{number}", title, group, shown, csrf, chosen=True, told=shown.most_like(group)))
    if len(grouped.groups) > GROUPS:
        parts.append(f'<p class="muted">{len(grouped.groups) - GROUPS} smaller groups are not shown yet.</p>')
    if grouped.ungrouped:
        title = "Ungrouped <small>similar to no other face here; select those of one person</small>"
        parts.append(_group("alone", title, grouped.ungrouped, shown, csrf, chosen=False))
    if grouped.unusable:
        title = "Unusable <small>enrolment rejects these</small>"
        parts.append(_group("unfit", title, grouped.unusable, shown, csrf, chosen=False, nameable=False))
    parts.append(_notes(shown.notes))
    return "".join(parts)


def _wait(told: str) -> str:
    return f'<p class="empty" data-again="1" role="status">{told} This page loads itself again.</p>'


def _told(shown: Shown) -> str:
    if shown.ids is None:
        return '<p class="note">To name them here, start the monitor with --people PHOTOS.</p>'
    way = "are signed and published to all doors" if shown.publishes else "are added to the people folder only"
    return (
        '<p class="muted">Faces are grouped by similarity, so check every face before you name a group. People you '
        f"name pass the usual photo checks and {way}, after a page to confirm.</p>"
    )


def _group(
    id_: str,
    title: str,
    group: Sequence[StoredFace],
    shown: Shown,
    csrf: str,
    *,
    chosen: bool,
    nameable: bool = True,
    told: str = "",
) -> str:
    tiles = "".join(_tile(f"{id_}-{i}", crop, chosen) for i, crop in enumerate(group[:FACES]))
    more = f'<p class="muted">{len(group) - FACES} more are not shown.</p>' if len(group) > FACES else ""
    likeness = f'<p class="muted">{escaped(told)}</p>' if told else ""
    naming = ""
    if nameable and shown.ids is not None:
        naming = (
            f'<p class="field"><label for="{id_}-person">Id of the person, new or known</label>'
            f'<input id="{id_}-person" name="person" list="ids" maxlength="64" autocomplete="off"></p>'
            f'<p class="field"><label for="{id_}-name">Name, if new</label>'
            f'<input id="{id_}-name" name="name" maxlength="80" autocomplete="off"></p>'
            '<button class="primary" name="act" value="preview">Enrol selected …</button>'
        )
    return (
        f'<section class="panel faces" aria-labelledby="{id_}"><h2 id="{id_}">{title}</h2>{likeness}'
        f'<form method="post" action="/unknown">{csrf}<ul class="tiles">{tiles}</ul>{more}'
        f'<div class="row">{naming}<button class="danger" name="act" value="forget">Delete selected</button></div>'
        "</form></section>"
    )


def _tile(id_: str, crop: StoredFace, chosen: bool) -> str:
    when = datetime.datetime.fromtimestamp(crop.received_s).strftime("%d %b %H:%M")
    reason = crop.assessment.rejection_reason
    fault = f'<span class="why">{escaped(reason)}</span>' if reason else ""
    return (
        f'<li class="tile{" bad" if reason else ""}"><label for="{id_}"><span class="face">'
        f'<img src="/unknown/face/{escaped(crop.key)}.jpg" alt="Face at {escaped(crop.door)}, {when}" loading="lazy">'
        f'</span><span class="pick"><input type="checkbox" id="{id_}" name="face" value="{escaped(crop.key)}"'
        f"{' checked' if chosen else ''}> {when}</span></label>"
        f'<span class="muted">{escaped(crop.door)}</span>{fault}</li>'
    )


def _outcome(outcome: EnrolResult, csrf: str) -> str:
    head = f"<h2>{escaped(outcome.person)}</h2>" if outcome.person else ""
    done = "".join(f"<li>{escaped(line)}</li>" for line in outcome.done)
    refused = "".join(f"<li>{escaped(line)}</li>" for line in outcome.rejected[:_LINES])
    parts = [head, f"<ul>{done}</ul>" if done else ""]
    if outcome.error:
        parts.append(f'<p class="note bad" role="alert">{escaped(outcome.error)}</p>')
    parts += [f'<p class="note bad" role="alert">{escaped(line)}</p>' for line in outcome.warnings]
    if refused:
        parts.append(f'<p>Photos that were rejected:</p><ul class="problems">{refused}</ul>')
    if outcome.commands:
        parts.append("<p>For the doors, run</p><pre>" + "\n".join(map(escaped, outcome.commands)) + "</pre>")
    if outcome.undo is not None:
        parts.append(
            f'<form method="post" action="/unknown">{csrf}<button name="act" value="undo">Undo</button></form>'
        )
    tone = "bad" if outcome.error else "good"
    return f'<section class="panel outcome {tone}" role="status" aria-label="What was done">{"".join(parts)}</section>'


def _notes(notes: Sequence[AuditNote]) -> str:
    if not notes:
        return ""
    lines = "".join(
        f"<li><time>{datetime.datetime.fromtimestamp(note.at_ms / 1000):%d %b %H:%M}</time> "
        f'{escaped(note.what)} <span class="muted">from {escaped(note.who)}</span></li>'
        for note in notes
    )
    return f'<section class="panel"><h2>What was done</h2><ul class="notes">{lines}</ul></section>'


def _day(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s).strftime("%d %b")
