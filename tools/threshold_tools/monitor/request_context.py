"""What the guard has found out about a request, for the pages that answer it: who asks, and what was posted.

Pages need no more of the guard than this: put `csrf_field(request)` into every form, and read what was posted with
`posted(request)`. A POST without that field, or from another site's page, never arrives.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

CSRF = "csrf"  # name of the hidden field
Fields = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request as the guard lets it in.

    Attributes:
        csrf: what a form must bring back.
        fields: what was posted, values by name, in order; empty for a GET.
        signed_in: whether a session is open that signing out would end.
    """

    csrf: str
    form: Fields
    signed_in: bool


def visit(request: Request) -> RequestContext:
    """The guard's findings on this request."""
    found: RequestContext = request.state.visit
    return found


def csrf_field(request: Request) -> str:
    """The hidden field that every form with method="post" needs."""
    return f'<input type="hidden" name="{CSRF}" value="{html.escape(visit(request).csrf, quote=True)}">'


def form_of(request: Request) -> Fields:
    """What was posted: values by name, in order. Checked by the guard already, at most 256 KiB in all."""
    return visit(request).form


def query_number(text: str | None, least: int, most: int) -> int | None:
    """A number in a query; None for anything else."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return min(max(int(text), least), most)
