"""The review of people as HTML."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.monitor.layout import escaped
from threshold_tools.monitor.people import PeopleReview
from threshold_tools.thresholds import LOOKALIKE_SHARE

A_PAGE = 40  # people


def people_page(found: PeopleReview, *, page: int, search: str, doubtful: bool, again: str) -> str:
    """The body of the page.

    Args:
        page: from 1 on.
        search: part of a name or id, or "".
        doubtful: only people with something to look at.
        again: the form that has the folder looked at anew, HTML.
    """
    seen = found.review
    chosen = [
        member
        for member in seen.people
        if search.casefold() in f"{member.name} {member.id}".casefold() and not (doubtful and _fine(found, member))
    ]
    pages = max(-(-len(chosen) // A_PAGE), 1)
    page = min(max(page, 1), pages)
    shown = chosen[(page - 1) * A_PAGE : page * A_PAGE]
    photos = sum(len(kept) for kept in seen.kept.values())
    known = {photo for member in seen.people for photo in member.photos}
    strays = [path for path in seen.rejections.photos if path not in known]
    parts = [
        '<dl class="summary">'
        f"<div><dt>people enrolled</dt><dd>{len(seen.kept)} <small>of {len(seen.people)}</small></dd></div>"
        f"<div><dt>photos that serve</dt><dd>{photos}</dd></div>"
        f"<div><dt>refused</dt><dd>{seen.rejections.count}</dd></div>"
        f"<div><dt>threshold</dt><dd>{seen.base_sq:.2f} <small>lower is stricter</small></dd></div></dl>",
        '<form class="row" method="get" action="/people" role="search">'
        f'<p class="field"><label for="q">Name or id</label><input id="q" name="q" type="search" '
        f'value="{escaped(search)}">'
        f'</p><p class="check"><input id="doubt" name="doubt" value="1" type="checkbox"'
        f"{' checked' if doubtful else ''}>"
        '<label for="doubt">only what was refused or doubted</label></p><button>Show</button></form>',
        again,
        f'<p class="muted" role="status">{len(chosen)} {"person" if len(chosen) == 1 else "people"}'
        f"{f', page {page} of {pages}' if pages > 1 else ''}</p>",
    ]
    if strays and page == 1 and not search:
        lines = "".join(
            f"<li>{escaped(path.name)}: {escaped(seen.rejections.photos[path])}</li>" for path in strays[:50]
        )
        parts.append(f'<section class="panel"><h2>Photos of nobody</h2><ul>{lines}</ul></section>')
    parts += [_person(found, member) for member in shown]
    if not chosen:
        parts.append('<p class="empty">Nobody fits.</p>')
    if pages > 1:
        parts.append(_turning(page, pages, search, doubtful))
    return "".join(parts)


def _fine(found: PeopleReview, member: PersonFolder) -> bool:
    told = found.review.rejections
    kept = found.review.kept.get(member.id, [])
    return member.id not in told.people and member.id not in told.notes and len(kept) == len(member.photos)


def _person(found: PeopleReview, member: PersonFolder) -> str:
    seen = found.review
    kept = {photo.path: photo for photo in seen.kept.get(member.id, [])}
    facts = [("id", member.id)] if member.name != member.id else []
    facts.append(("photos", f"{len(kept)} of {len(member.photos)} serve" if kept else "not enrolled"))
    if member.groups:
        facts.append(("groups", ", ".join(member.groups)))
    if member.valid_from or member.valid_until:
        facts.append(("valid", f"{member.valid_from or '…'} to {member.valid_until or '…'}"))
    if member.id in found.limits_sq:
        limit, base = found.limits_sq[member.id], seen.base_sq
        facts.append(("threshold", f"{limit:.2f}{', stricter for a look-alike' if limit < base else ''}"))
    if member.id in found.nearest:
        other, distance = found.nearest[member.id]
        alike = distance * LOOKALIKE_SHARE < seen.base_sq
        facts.append(("nearest other" if not alike else "look-alike", f"{other}, distance {distance:.2f}"))
    told = seen.rejections.people.get(member.id) or seen.rejections.notes.get(member.id) or ""
    note = f'<p class="note bad">{escaped(told)}</p>' if told else ""
    shown = "".join(f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts)
    tiles = "".join(
        _tile(found, path, member, f"weight {kept[path].weight:.2f}" if path in kept else "") for path in member.photos
    )
    return (
        f'<section class="panel person"><h2>{escaped(member.name)}</h2><dl class="facts">{shown}</dl>{note}'
        f'<ul class="tiles">{tiles}</ul></section>'
    )


def _tile(found: PeopleReview, path: Path, member: PersonFolder, accepted: str) -> str:
    """One photo; `accepted` is what to say of one that serves, "" for one that does not."""
    name = path.relative_to(member.folder).as_posix()
    number = found.numbers.get(path)
    sight = found.review.assessments.get(path)
    face = '<span class="muted">no picture</span>'
    if number is not None:
        face = f'<img src="/people/photo/{number}.jpg" alt="{escaped(member.name)}, {escaped(name)}" loading="lazy">'
    why = accepted or found.review.rejections.photos.get(path, "the person is not enrolled")
    return (
        f'<li class="tile{"" if accepted else " bad"}"><div class="face">{face}</div><b>{escaped(name)}</b>'
        f'<span class="why">{escaped(why)}</span>'
        f'<span class="muted">{escaped(sight.quality_text if sight else "")}</span></li>'
    )


def _turning(page: int, pages: int, search: str, doubtful: bool) -> str:
    def link(to: int, text: str) -> str:
        if not 1 <= to <= pages:
            return ""
        query = {"q": search, "page": str(to)} | ({"doubt": "1"} if doubtful else {})
        return f'<a class="button" href="/people?{escaped(urlencode(query))}">{text}</a>'

    return f'<nav class="row" aria-label="Pages">{link(page - 1, "Earlier")}{link(page + 1, "Further")}</nav>'
