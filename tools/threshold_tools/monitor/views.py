"""The pages that live on the stream: their bare frames; static/*.js fills them with what the doors say."""

from __future__ import annotations

from edge.events.schema import EventKind
from threshold_tools.monitor.layout import escaped

VIEWS = {"/": "doors", "/events": "events", "/health": "health", "/releases": "releases"}
_SUMMARY = '<dl class="summary" id="summary" aria-label="The fleet at a glance"></dl>'
_NEEDED = (
    '<noscript><p class="note bad">This page shows what happens as it happens, and needs JavaScript.</p></noscript>'
    '<p class="note bad" id="limits" role="status" hidden></p>'
)
_KINDS = "".join(f'<option value="{kind}">{kind}</option>' for kind in EventKind)
_HOURS = (
    '<p class="field"><label for="hours">Span</label><select id="hours"><option value="1">1 hour</option>'
    '<option value="3" selected>3 hours</option><option value="24">1 day</option><option value="168">7 days</option>'
    "</select></p>"
)


def _table(id_: str, caption: str, *heads: str) -> str:
    """A table whose rows scripts fill; its roles are told, because on a phone its rows are laid out as cards."""
    cells = "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table role="table" id="{id_}">'
        f'<caption class="hidden">{caption}</caption><thead role="rowgroup"><tr role="row">{cells}</tr></thead>'
        '<tbody role="rowgroup"></tbody></table></div>'
    )


_DOORS = _table("doors", "All doors", "Door", "State", "Camera", "Presence", "Last event", "Gallery", "Release")
_EVENTS = _table("events", "Events, newest first", "Time", "Door", "Event", "Who", "Why", "Distance")
_LIVE = (
    '<p class="hidden" id="spoken" role="status"></p><p class="empty" id="nothing" hidden>Nothing has happened yet.</p>'
)
_PAUSE = '<button type="button" id="pause" aria-pressed="false">Pause</button>'

VIEW_BODIES = {
    "doors": (
        "Doors",
        f'{_NEEDED}{_SUMMARY}<div class="split" data-view="doors"><section class="panel" aria-labelledby="h-doors">'
        '<div class="row"><h2 id="h-doors">Fleet</h2><p class="field wide"><label for="find">Find</label>'
        '<input id="find" type="search" autocomplete="off"></p><p class="check"><input id="trouble" type="checkbox">'
        '<label for="trouble">only those in trouble</label></p></div>'
        f'{_DOORS}<p class="empty" id="none" role="status"></p></section>'
        f'<section class="panel" aria-labelledby="h-live"><div class="row"><h2 id="h-live">Live</h2>{_PAUSE}'
        f'</div>{_LIVE}<ol id="rail" class="rail"></ol><p><a href="/events">All events</a></p></section></div>',
    ),
    "events": (
        "Events",
        f'{_NEEDED}<section class="panel" data-view="events" aria-label="Events"><form class="row" id="filter">'
        '<p class="field"><label for="door">Door</label><select id="door"><option value="">all</option></select></p>'
        f'<p class="field"><label for="kind">Event</label><select id="kind">'
        f'<option value="">all</option>{_KINDS}</select></p>'
        f'{_PAUSE}</form>{_LIVE}{_EVENTS}<p class="row"><button type="button" id="older">Older events</button>'
        '<span class="muted">Distances: lower is nearer; a lower threshold is stricter.</span></p></section>',
    ),
    "health": (
        "Health",
        f'{_NEEDED}<section data-view="health" aria-label="Health of every door"><div class="row">{_HOURS}</div>'
        '<ul id="healths" class="tiles plots"></ul></section>',
    ),
    "releases": (
        "Releases",
        f'{_NEEDED}{_SUMMARY}<section class="panel" data-view="releases" aria-label="Release of every door">'
        + _table("releases", "Table of releases", "Door", "Release", "Verdict", "Since", "Gallery", "People", "Reason")
        + "</section>",
    ),
}


def door_view(name: str) -> str:
    """The body of one door's page."""
    return (
        f'{_NEEDED}<div data-view="door" data-door="{escaped(name)}"><section class="panel" aria-labelledby="h-now">'
        '<h2 id="h-now">Now</h2><dl class="facts" id="facts"></dl><ul id="problems" class="problems"></ul></section>'
        '<section class="panel" aria-labelledby="h-health"><div class="row"><h2 id="h-health">Health</h2>'
        f'{_HOURS}</div><div id="graphs" class="graphs"></div></section>'
        f'<section class="panel" aria-labelledby="h-events"><div class="row"><h2 id="h-events">Events</h2>'
        f"{_PAUSE}</div>"
        f'{_LIVE}{_EVENTS}<p><button type="button" id="older">Older events</button></p></section></div>'
    )


def login_body(csrf: str, told: str) -> str:
    """The sign-in form; `csrf` is HTML, `told` what went wrong, or ""."""
    wrong = f'<p class="note bad" role="alert" id="wrong">{escaped(told)}</p>' if told else ""
    described = ' aria-describedby="wrong" aria-invalid="true"' if told else ""
    return (
        f'<form class="panel login" method="post" action="/login">{csrf}{wrong}'
        '<input name="username" value="monitor" autocomplete="username" hidden><p class="field">'
        '<label for="token">Token'
        f'</label><input id="token" name="token" type="password" autocomplete="current-password" '
        f"required{described}></p>"
        '<p class="muted">The monitor printed it when it started, or reads it from its token file.</p>'
        '<button class="primary">Sign in</button></form>'
    )
