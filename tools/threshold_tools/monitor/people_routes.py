"""The page of people: the review of the people folder, and its photos."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.review import FolderReview
from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.pages import query_number, render
from threshold_tools.monitor.people import PeopleReviewer
from threshold_tools.thresholds import LOOKALIKE_SHARE

PAGE_SIZE = 40  # people
_MAX_LOOSE = 50  # photos that belong to nobody


def people_routes(reviewer: PeopleReviewer) -> Sequence[BaseRoute]:
    """The routes; the folder is reviewed when the page is first asked for."""

    def page(request: Request) -> Response:
        reviewer.start_first()
        search = request.query_params.get("q", "")[:MAX_NAME]
        doubtful = request.query_params.get("doubt") == "1"
        result = reviewer.result
        found = _select(result.folder, search, doubtful) if result else []
        pages = max(-(-len(found) // PAGE_SIZE), 1)
        number = min(query_number(request, "page", 1, 10**6) or 1, pages)
        return render(
            request,
            "people.html",
            result=result,
            folder=result.folder if result else None,
            busy=reviewer.busy,
            error=reviewer.error,
            search=search,
            doubtful=doubtful,
            found=len(found),
            number=number,
            pages=pages,
            people=found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE],
            loose=_loose_photos(result.folder) if result else [],
            lookalike_share=LOOKALIKE_SHARE,
        )

    def start(_request: Request) -> Response:
        reviewer.start()
        return RedirectResponse("/people", 303)

    def photo(request: Request) -> Response:
        number, result = request.path_params["number"], reviewer.result
        if result is None or number >= len(result.thumbnails):
            raise HTTPException(404, "No such photo.")
        return Response(result.thumbnails[number], media_type="image/jpeg")

    return [
        Route("/people", page, methods=["GET"]),
        Route("/people", start, methods=["POST"]),
        Route("/people/photo/{number:int}.jpg", photo),
    ]


def _select(folder: FolderReview, search: str, doubtful: bool) -> list[PersonFolder]:
    """People whose name or id contains `search`; with `doubtful` only those with a rejected photo or a warning."""
    flagged = folder.rejections.people | folder.rejections.notes
    return [
        person
        for person in folder.people
        if search.casefold() in f"{person.name} {person.id}".casefold()
        and not (doubtful and person.id not in flagged and len(folder.kept.get(person.id, ())) == len(person.photos))
    ]


def _loose_photos(folder: FolderReview) -> list[tuple[str, str]]:
    """Names of photos that belong to nobody, and why they were rejected."""
    known = {photo for person in folder.people for photo in person.photos}
    loose = [(path.name, reason) for path, reason in folder.rejections.photos.items() if path not in known]
    return loose[:_MAX_LOOSE]
