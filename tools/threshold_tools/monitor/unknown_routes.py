"""The room of unknown visitors: their faces in groups, and the forms that name or forget them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from threshold_tools.monitor.confirm_page import confirm_page
from threshold_tools.monitor.enrol_unknown import UnknownEnroller, count
from threshold_tools.monitor.face_store import FaceStore, StoredFace
from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.history import AuditNote, History
from threshold_tools.monitor.layout import NavItem, layout
from threshold_tools.monitor.people import PeopleReviewer
from threshold_tools.monitor.prospect import EnrolPreview, preview_enrolment
from threshold_tools.monitor.publishing import GalleryPublisher
from threshold_tools.monitor.request_context import csrf_field, form_of
from threshold_tools.monitor.unknown_page import Shown, unknown_page
from threshold_tools.photos import normalize

PLACE = NavItem("/unknown", "Unknown")
_NOTES = 20


def unknown_routes(
    crops: FaceStore, namer: UnknownEnroller | None, reviewer: PeopleReviewer | None, history: History
) -> Sequence[BaseRoute]:
    """The routes; without a namer faces can be looked at and deleted, without a reviewer they are like nobody."""

    def most_like(group: Sequence[StoredFace]) -> str:
        """Only a measurement: a nearest name under weak evidence must not look like an identification."""
        if reviewer is None or reviewer.result is None:
            return ""
        found = reviewer.result.nearest_to(normalize(np.sum([crop.assessment.embedding for crop in group], axis=0)))
        if found is None:
            return ""
        limit = reviewer.result.limits_sq[found[0]]
        return f"Nearest enrolled person: {found[0]}, distance {found[1]:.2f}, accepted up to {limit:.2f}."

    def page(request: Request) -> Response:
        if reviewer is not None and reviewer.result is None and not reviewer.error:
            reviewer.start()
        shown = Shown(
            grouped=crops.groups,
            known=crops.loaded,
            keep_days=crops.keep_days,
            folder=crops.folder,
            ids=namer.ids() if namer else None,
            busy=namer is not None and namer.busy,
            publishes=namer is not None and namer.publishing is not None,
            outcome=namer.result if namer else None,
            most_like=most_like,
            notes=history.notes(_NOTES),
        )
        return HTMLResponse(layout("Unknown visitors", unknown_page(shown, csrf_field(request)), request))

    async def change(request: Request) -> Response:
        fields = form_of(request)
        chosen = crops.groups.find(fields.get("face", ()))
        who = request.client.host if request.client else ""
        act = "".join(fields.get("act", ()))
        if act == "forget":
            await run_in_threadpool(_forget, chosen, who)
        elif act == "undo" and namer is not None:
            namer.undo(who)
        elif act in ("preview", "name") and namer is not None:
            person = "".join(fields.get("person", ())).strip()[:MAX_NAME]
            name = "".join(fields.get("name", ())).strip()[:MAX_NAME]
            if not chosen or not person:
                raise HTTPException(422, "Select at least one face and enter the id of the person.")
            if act == "preview" and reviewer is not None:
                found = await run_in_threadpool(_prospect, reviewer, chosen, person, name, namer.publishing)
                return HTMLResponse(layout("Confirm enrolment", confirm_page(found, csrf_field(request)), request))
            namer.enrol(chosen, person, name, who)
        return RedirectResponse("/unknown", 303)

    def _forget(chosen: Sequence[StoredFace], who: str) -> None:
        crops.delete(chosen)
        if chosen:
            doors = ", ".join(sorted({crop.door for crop in chosen}))
            history.add_note(
                AuditNote(time.time_ns() // 1_000_000, who, f"{count(len(chosen), 'face')} from {doors} deleted")
            )

    def face(request: Request) -> Response:
        found = crops.groups.find([request.path_params["key"]])
        try:
            return Response(found[0].path.read_bytes(), media_type="image/jpeg")
        except (IndexError, OSError) as error:
            raise HTTPException(404, "This face is not kept any more.") from error

    return [
        Route("/unknown", page, methods=["GET"]),
        Route("/unknown", change, methods=["POST"]),
        Route("/unknown/face/{key:path}.jpg", face),
    ]


def _prospect(
    reviewer: PeopleReviewer, chosen: Sequence[StoredFace], person: str, name: str, publishing: GalleryPublisher | None
) -> EnrolPreview:
    reviewed = reviewer.result_now()
    if reviewed is None:
        return EnrolPreview(person, name, (), error=reviewer.error)
    return preview_enrolment(chosen, person, name, reviewed, publishing)
