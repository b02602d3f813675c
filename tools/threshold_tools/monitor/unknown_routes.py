"""The page of unknown visitors: their faces in groups, and the forms that enrol or delete them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edge.core.cli_support import counted
from threshold_tools.monitor.enrol_unknown import UnknownEnroller
from threshold_tools.monitor.face_store import FaceStore, StoredFace, door_names
from threshold_tools.monitor.fleet import MAX_NAME, Fleet
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.monitor.history import AuditNote, History
from threshold_tools.monitor.pages import client_address, local_time, render, request_context
from threshold_tools.photos import normalize

_MAX_GROUPS = 20  # the largest are shown
_MAX_FACES = 60  # of each group
_MAX_REJECTED = 20  # lines
_MAX_NOTES = 20
_MAX_DOORS = 12  # named in a sentence
ID_RULE = "Use letters, digits and . _ - @ +, beginning with a letter or digit, such as jane-doe."


def unknown_routes(  # noqa: C901 handlers side by side
    store: FaceStore, enroller: UnknownEnroller | None, history: History, fleet: Fleet
) -> Sequence[BaseRoute]:
    """The routes; without an enroller, faces can be viewed and deleted only."""

    def nearest(faces: Sequence[StoredFace]) -> str:
        """A measurement in words. It must not look like an identification, because the evidence is weak."""
        people = enroller.reviewer.result if enroller else None
        vector = normalize(np.sum([face.assessment.embedding for face in faces], axis=0))
        found = people.nearest_to(vector) if people else None
        if people is None or found is None:
            return ""
        person, distance_sq = found
        limit_sq = people.limits_sq[person]
        return f"Nearest enrolled person: {person}, distance {distance_sq:.2f} (threshold {limit_sq:.2f})."

    def page(request: Request) -> Response:
        if enroller:
            enroller.reviewer.start_first()
        return render(
            request,
            "unknown.html",
            store=store,
            faces=store.faces,
            ids=enroller.ids() if enroller else None,
            id_rule=ID_RULE,
            busy=enroller is not None and enroller.busy,
            publishes=enroller is not None and enroller.publisher is not None,
            result=enroller.result if enroller else None,
            notes=history.notes(_MAX_NOTES),
            nearest=nearest,
            describe_group=_describe_group,
            max_groups=_MAX_GROUPS,
            max_faces=_MAX_FACES,
            max_rejected=_MAX_REJECTED,
        )

    async def change(request: Request) -> Response:
        form, who = request_context(request).form, client_address(request)
        action = "".join(form.get("act", ()))
        faces = store.faces.find(form.get("face", ()))
        if action == "delete":
            await run_in_threadpool(delete, faces, who)
        elif action == "undo" and enroller:
            enroller.undo(who)
        elif action in ("preview", "enrol") and enroller:
            person, name = ("".join(form.get(field, ())).strip()[:MAX_NAME] for field in ("person", "name"))
            if not faces or not person:
                raise HTTPException(422, "Select at least one face and enter the id of the person.")
            if action == "preview":
                preview = await run_in_threadpool(enroller.preview, faces, person)
                publisher = None if preview.error else enroller.publisher
                publication = _describe_publication(publisher, fleet) if publisher else ""
                return render(
                    request,
                    "confirm.html",
                    preview=preview,
                    faces=faces,
                    person=person,
                    name=name,
                    publication=publication,
                )
            enroller.enrol(faces, person, name, who)
        return RedirectResponse("/unknown", 303)

    def delete(faces: Sequence[StoredFace], who: str) -> None:
        store.delete(faces)
        if faces:
            what = f"{counted(len(faces), 'face')} from {door_names(faces)} deleted"
            history.add_note(AuditNote(time.time_ns() // 1_000_000, who, what))

    def face(request: Request) -> Response:
        found = store.faces.find([request.path_params["key"]])
        try:
            return Response(found[0].path.read_bytes(), media_type="image/jpeg")
        except (IndexError, OSError) as error:
            raise HTTPException(404, "This face has been deleted.") from error

    return [
        Route("/unknown", page, methods=["GET"]),
        Route("/unknown", change, methods=["POST"]),
        Route("/unknown/face/{key:path}.jpg", face),
    ]


def _describe_group(faces: Sequence[StoredFace]) -> str:
    first, last = local_time(faces[-1].received_s, "%d %b"), local_time(faces[0].received_s, "%d %b")
    return f"{len(faces)} faces · {door_names(faces)} · {first if first == last else f'{first} to {last}'}"


def _describe_publication(publisher: GalleryPublisher, fleet: Fleet) -> str:
    """The release that an enrolment would publish, and the doors that would receive it."""
    doors = fleet.doors_of(publisher.site)
    what = f"Enrolling publishes release {publisher.newest_release + 1} to site {publisher.site}"
    if not doors:
        return f"{what}. No door of this site has reported to this monitor yet."
    names = [row.door.partition("/")[2] for row in doors]
    shown = ", ".join(names[:_MAX_DOORS]) + (f" and {len(names) - _MAX_DOORS} more" if len(names) > _MAX_DOORS else "")
    offline = sum(row.status != "online" for row in doors)
    later = (
        f" {offline} of them {'is' if offline == 1 else 'are'} not online now and will update later." if offline else ""
    )
    return f"{what}, {counted(len(doors), 'door')}: {shown}.{later}"
