"""The frame around every page: landmarks, navigation, the way to the style sheet and scripts."""

from __future__ import annotations

import html
from dataclasses import dataclass

from starlette.requests import Request

from threshold_tools.monitor.request_context import csrf_field, visit


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the navigation; every path that begins with `path` belongs to it ("/" stands for itself alone)."""

    path: str
    name: str


def escaped(text: object) -> str:
    """Text for HTML, also within attributes."""
    return html.escape(str(text), quote=True)


def layout(title: str, body_html: str, request: Request) -> str:
    """A whole page, HTML.

    Args:
        title: plain text; becomes the page's title and its <h1>.
        body_html: what follows the <h1>, HTML, everything foreign in it escaped; headings from <h2> on. The content
            security policy forbids inline scripts, inline styles and `style` attributes.
        request: tells which entry of the navigation is the current one.
    """
    places: tuple[NavItem, ...] = request.app.state.places
    path: str = request.scope["path"]
    entries = "" if path == "/login" else "".join(_entry(place, path) for place in places)
    nav = f'<nav aria-label="Views"><ul>{entries}</ul></nav>' if entries else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escaped(title)} · Threshold</title>"
        '<link rel="icon" href="/static/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/monitor.css">'
        '<script src="/static/theme.js"></script><script type="module" src="/static/monitor.js"></script></head><body>'
        '<a class="skip" href="#main">Skip to content</a><header class="top"><div class="bar">'
        '<a class="brand" href="/"><img src="/static/icon.svg" alt="" width="22" height="22">Threshold</a>'
        f"{nav}"
        '<p class="link" id="link" role="status"></p>'
        f'<button type="button" id="theme" class="quiet">Theme</button>{_sign_out(request)}</div></header>'
        f'<main id="main" tabindex="-1"><h1>{escaped(title)}</h1>{body_html}</main></body></html>\n'
    )


def _entry(place: NavItem, path: str) -> str:
    within = path == place.path if place.path == "/" else f"{path}/".startswith(f"{place.path}/")
    current = ' aria-current="page"' if within else ""
    return f'<li><a href="{escaped(place.path)}"{current}>{escaped(place.name)}</a></li>'


def _sign_out(request: Request) -> str:
    if not visit(request).signed_in:
        return ""
    return f'<form method="post" action="/logout">{csrf_field(request)}<button class="quiet">Sign out</button></form>'
