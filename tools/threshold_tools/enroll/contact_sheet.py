"""The contact sheet: every photo of every person with what became of it, as one HTML file that needs no other."""

from __future__ import annotations

import html
from pathlib import Path

from threshold_tools import pages
from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.review import FolderReview

_STYLE = """
:root { color-scheme: light dark; --good: #2e7d4f; --bad: #b3452c; --soft: #8886; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; max-width: 90rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } p { margin: .2rem 0 1rem; }
main { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
section { border-top: 1px solid var(--soft); padding: .6rem 0; min-width: 12rem; max-width: 100%;
  content-visibility: auto; contain-intrinsic-size: auto 12rem auto 15rem; }
h2 small { display: block; }
h2 { font-size: 1rem; margin: 0 0 .4rem; } h2 small { font-weight: normal; opacity: .75; }
.note { color: var(--bad); margin: 0 0 .4rem; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .6rem; padding: 0; margin: 0; }
li { width: 11rem; border: 1px solid var(--soft); border-top: 4px solid var(--good); border-radius: 4px; padding: .4rem;
  overflow-wrap: anywhere; }
li.bad { border-top-color: var(--bad); }
.face { height: 112px; display: flex; align-items: center; justify-content: center; background: #8882; }
.face img { max-width: 100%; max-height: 112px; } .bad .face img { opacity: .75; }
li b { display: block; font-weight: 600; } li span { display: block; font-size: .85em; opacity: .8; }
.bad .why { color: var(--bad); font-weight: 600; opacity: 1; }
body:has(#only:checked) section.fine, body:has(#only:checked) section li.good { display: none; }
"""


def contact_sheet(review: FolderReview, title: str) -> str:
    """The sheet, HTML."""
    photos = sum(len(kept) for kept in review.kept.values())
    parts = [
        pages.HEAD,
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{len(review.kept)} of {len(review.people)} people from {photos} photos, "
        f"{review.rejections.count} refused. "
        '<label><input type="checkbox" id="only"> show only what was refused or doubted</label></p><main>',
    ]
    known = {photo for member in review.people for photo in member.photos}
    stray = [path for path in review.rejections.photos if path not in known]
    if stray:
        tiles = "".join(_tile(review, path, path.name, "") for path in stray)
        parts.append(f"<section><h2>nobody's</h2><ul>{tiles}</ul></section>")
    parts += [_person(review, member) for member in review.people]
    return "\n".join(parts) + "\n</main></body></html>\n"


def _person(review: FolderReview, member: PersonFolder) -> str:
    kept = {photo.path: photo for photo in review.kept.get(member.id, [])}
    told = review.rejections.people.get(member.id) or review.rejections.notes.get(member.id) or ""
    fine = not told and len(kept) == len(member.photos)
    extra = [f"id {member.id}"] if member.name != member.id else []
    extra += [", ".join(member.groups)] if member.groups else []
    extra += [f"from {member.valid_from}"] if member.valid_from else []
    extra += [f"until {member.valid_until}"] if member.valid_until else []
    extra.append(f"{len(kept)} of {len(member.photos)} photos" if kept else "not enrolled")
    tiles = "".join(
        _tile(review, path, path.relative_to(member.folder).as_posix(), f"weight {kept[path].weight:.2f}")
        if path in kept
        else _tile(review, path, path.relative_to(member.folder).as_posix(), "")
        for path in member.photos
    )
    note = f'<p class="note">{html.escape(told)}</p>' if told else ""
    heading = f"<h2>{html.escape(member.name)} <small>{html.escape(' · '.join(extra))}</small></h2>"
    return f'<section class="{"fine" if fine else "doubt"}">{heading}{note}<ul>{tiles}</ul></section>'


def _tile(review: FolderReview, path: Path, name: str, accepted: str) -> str:
    """One photo; `accepted` is what to say of one that serves, "" for one that does not."""
    sight = review.assessments.get(path)
    face = "no picture"
    if sight is not None and sight.thumbnail:
        face = pages.img_tag(sight.thumbnail)
    why = accepted or review.rejections.photos.get(path, "the person is not enrolled")
    return (
        f'<li class="{"good" if accepted else "bad"}"><div class="face">{face}</div><b>{html.escape(name)}</b>'
        f'<span class="why">{html.escape(why)}</span>'
        f"<span>{html.escape(sight.quality_text if sight else '')}</span></li>"
    )
