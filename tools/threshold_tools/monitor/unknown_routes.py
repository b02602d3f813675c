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
from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.history import AuditNote, History
from threshold_tools.monitor.pages import client_address, local_time, render, request_context
from threshold_tools.photos import normalize

_MAX_GROUPS = 20  # shown at once, the largest
_MAX_FACES = 60  # of each group
_MAX_REJECTED = 20  # lines
_MAX_NOTES = 20


def unknown_routes(  # noqa: C901 handlers side by side
    store: FaceStore, enroller: UnknownEnroller | None, history: History
) -> Sequence[BaseRoute]:
    """The routes; without an enroller faces can be looked at and deleted."""

    def nearest(faces: Sequence[StoredFace]) -> str:
        """Only a measurement: a nearest name under weak evidence must not look like an identification."""
        people = enroller.reviewer.result if enroller else None
        vector = normalize(np.sum([face.assessment.embedding for face in faces], axis=0))
        found = people.nearest_to(vector) if people else None
        if people is None or found is None:
            return ""
        person, distance_sq = found
        limit_sq = people.limits_sq[person]
        return f"Nearest enrolled person: {person}, distance {distance_sq:.2f}, accepted up to {limit_sq:.2f}."

    def page(request: Request) -> Response:
        if enroller:
            enroller.reviewer.start_first()
        return render(
            request,
            "unknown.html",
            store=store,
            faces=store.faces,
            ids=enroller.ids() if enroller else None,
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
                return render(request, "confirm.html", preview=preview, faces=faces, person=person, name=name)
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
            raise HTTPException(404, "This face is not kept any more.") from error

    return [
        Route("/unknown", page, methods=["GET"]),
        Route("/unknown", change, methods=["POST"]),
        Route("/unknown/face/{key:path}.jpg", face),
    ]


def _describe_group(faces: Sequence[StoredFace]) -> str:
    first, last = local_time(faces[-1].received_s, "%d %b"), local_time(faces[0].received_s, "%d %b")
    return f"{len(faces)} faces · {door_names(faces)} · {first if first == last else f'{first} to {last}'}"
