"""The room of people: the review of the people folder, and its photos."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.layout import NavItem, escaped, layout
from threshold_tools.monitor.people import PeopleReviewer
from threshold_tools.monitor.people_page import people_page
from threshold_tools.monitor.request_context import csrf_field, query_number

PLACE = NavItem("/people", "People")


def people_routes(reviewer: PeopleReviewer) -> Sequence[BaseRoute]:
    """The routes; the folder is looked at when somebody comes."""

    def page(request: Request) -> Response:
        asked = request.query_params
        if reviewer.result is None and not reviewer.error:
            reviewer.start()
        label = "Looking at the photos …" if reviewer.busy else "Look at the photos again"
        off = " disabled" if reviewer.busy else ""
        again = f'<form method="post" action="/people">{csrf_field(request)}<button{off}>{label}</button></form>'
        if reviewer.error:
            again = f'<p class="note bad" role="alert">{escaped(reviewer.error)}</p>{again}'
        if reviewer.result is None:
            waiting = (
                '<p class="empty" data-again="2">The photos are being looked at. This page loads itself again.</p>'
            )
            return HTMLResponse(layout("People", again if reviewer.error else waiting, request))
        body = people_page(
            reviewer.result,
            page=query_number(asked.get("page"), 1, 10**6) or 1,
            search=asked.get("q", "")[:MAX_NAME],
            doubtful=asked.get("doubt") == "1",
            again=again,
        )
        return HTMLResponse(layout("People", body, request))

    def again(_request: Request) -> Response:
        reviewer.start()
        return RedirectResponse("/people", 303)

    def photo(request: Request) -> Response:
        which = request.path_params["number"]
        if reviewer.result is None or which >= len(reviewer.result.thumbs):
            raise HTTPException(404, "No such photo.")
        return Response(reviewer.result.thumbs[which], media_type="image/jpeg")

    return [
        Route("/people", page, methods=["GET"]),
        Route("/people", again, methods=["POST"]),
        Route("/people/photo/{number:int}.jpg", photo),
    ]
