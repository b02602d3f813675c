"""Renders pages from `templates/`, with autoescape, and the words for kinds of events on them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from edge.events.schema import EventKind
from threshold_tools.monitor.security import RequestContext

NAV = {
    "/": "Doors",
    "/events": "Events",
    "/health": "Health",
    "/releases": "Releases",
    "/unknown": "Unknown",
    "/people": "People",
}  # path to name
KIND_TEXTS = {
    EventKind.DOOR_OPEN: "opened",
    EventKind.DENIED: "denied",
    EventKind.UNKNOWN: "unknown",
    EventKind.STARTED: "started",
    EventKind.STOPPED: "stopped",
    EventKind.CAMERA_LOST: "camera lost",
    EventKind.CAMERA_BACK: "camera back",
    EventKind.CAMERA_BLIND: "camera blind",
    EventKind.CAMERA_SEES: "camera sees again",
    EventKind.OPEN_EXPIRED: "opening expired",
    EventKind.OPEN_UNHEARD: "no lock listening",
    EventKind.EVENTS_DROPPED: "events dropped",
    EventKind.RELEASE_APPLIED: "release applied",
    EventKind.RELEASE_REFUSED: "release rejected",
    EventKind.STORE_FAILING: "storage failing",
    EventKind.STORE_BACK: "storage working",
    EventKind.STORE_REPLACED: "storage replaced",
    EventKind.CLOCK_STEPPED: "clock changed",
}
_KINDS = json.dumps(KIND_TEXTS)
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def local_time(unix_s: float, form: str = "%d %b %H:%M") -> str:
    """A moment in seconds since 1970 UTC, as text in this machine's time zone."""
    return datetime.datetime.fromtimestamp(unix_s).strftime(form)


_TEMPLATES.filters["local_time"] = local_time


def render(request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page from a template.

    The current entry of the navigation and the token of forms follow from the request. The value `title` is the title
    of the page and its <h1>.
    """
    context = request_context(request)
    text = _TEMPLATES.get_template(template).render(
        nav=request.app.state.nav,
        path=request.scope["path"],
        csrf=context.csrf,
        signed_in=context.signed_in,
        event_kinds=_KINDS,
        **values,
    )
    return HTMLResponse(text, status)


def request_context(request: Request) -> RequestContext:
    """The context that `SecurityMiddleware` has set."""
    found: RequestContext = request.state.context
    return found


def client_address(request: Request) -> str:
    """The address a request comes from; "" if unknown."""
    return request.client.host if request.client else ""


def query_number(request: Request, name: str, low: int, high: int) -> int | None:
    """A number in the query, limited to `low` to `high`; None if it is missing or not a number."""
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return min(max(int(text), low), high)
