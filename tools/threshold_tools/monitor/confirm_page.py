"""The page that shows what a naming would change, before it is done, as HTML."""

from __future__ import annotations

from threshold_tools.monitor.layout import escaped
from threshold_tools.monitor.prospect import EnrolPreview


def confirm_page(found: EnrolPreview, csrf: str) -> str:
    """The body of the page; `csrf` is the hidden field of forms."""
    facts = "".join(f"<li>{escaped(line)}</li>" for line in found.facts)
    notes = "".join(f'<p class="note bad" role="alert">{escaped(line)}</p>' for line in found.warnings)
    if found.error:
        notes += f'<p class="note bad" role="alert">{escaped(found.error)}</p>'
    tiles = "".join(
        '<li class="tile"><span class="face">'
        f'<img src="/unknown/face/{escaped(key)}.jpg" alt="Selected face"></span></li>'
        for key in found.keys
    )
    hidden = "".join(f'<input type="hidden" name="face" value="{escaped(key)}">' for key in found.keys)
    enrol = "" if found.error else '<button class="primary" name="act" value="name">Enrol</button>'
    return (
        f'<section class="panel faces" aria-labelledby="who"><h2 id="who">{escaped(found.name or found.person)} '
        f"<small>{escaped(found.person)}</small></h2>{f'<ul>{facts}</ul>' if facts else ''}{notes}"
        f'<form method="post" action="/unknown">{csrf}{hidden}'
        f'<input type="hidden" name="person" value="{escaped(found.person)}">'
        f'<input type="hidden" name="name" value="{escaped(found.name)}">'
        f'<ul class="tiles">{tiles}</ul><div class="row">{enrol}<a class="button" href="/unknown">Cancel</a></div>'
        "</form></section>"
    )
