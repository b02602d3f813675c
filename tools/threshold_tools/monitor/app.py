"""The web application: which path gives what."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import MAX_PAGES, Hub
from threshold_tools.monitor.layout import NavItem, escaped, layout
from threshold_tools.monitor.request_context import csrf_field, form_of, query_number
from threshold_tools.monitor.security import AuthSettings, SecurityMiddleware
from threshold_tools.monitor.sessions import SESSION_S, LoginThrottle
from threshold_tools.monitor.views import VIEW_BODIES, VIEWS, door_view, login_body

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PLACES = (
    NavItem("/", "Doors"),
    NavItem("/events", "Events"),
    NavItem("/health", "Health"),
    NavItem("/releases", "Releases"),
)
MAX_EVENTS = 100  # of the history at once
MAX_HOURS = 24 * 31
SMALL_POINTS, LARGE_POINTS = 48, 240
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class MonitorContext:
    """What the pages show, and who may look.

    Attributes:
        hub: the doors and the latest events.
        history: what was before.
        rules: who is let in.
        more: routes of other rooms, and their entries of the navigation.
        on_start: called in the event loop when it runs.
    """

    hub: Hub
    history: History
    auth: AuthSettings
    more: Sequence[tuple[NavItem, Sequence[BaseRoute]]] = ()
    on_start: Callable[[asyncio.AbstractEventLoop], None] = field(default=lambda _: None)


def make_app(house: MonitorContext) -> Starlette:
    """The application for a server or a test; Host must be an address or name that `house.rules` allow."""
    places = list(PLACES)
    routes: list[BaseRoute] = [
        *(Route(path, _view(name)) for path, name in VIEWS.items()),
        Route("/doors/{site}/{door}", _door(house)),
        Route("/stream", _stream(house)),
        Route("/api/events", _events(house)),
        Route("/api/health", _health(house)),
        Route("/api/health/{site}/{door}", _door_health(house)),
        Route("/login", _login(house), methods=["GET", "POST"]),
        Route("/logout", _logout(house), methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    for place, further in house.more:
        places.append(place)
        routes += further

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        house.on_start(asyncio.get_running_loop())
        yield

    app = Starlette(
        routes=routes,
        middleware=[Middleware(SecurityMiddleware, rules=house.auth)],
        exception_handlers={HTTPException: _http_error, 500: _server_error},
        lifespan=life,
    )
    app.state.places = tuple(places)
    return app


Endpoint = Callable[[Request], Awaitable[Response]]


def _view(name: str) -> Endpoint:
    async def page(request: Request) -> Response:
        title, body = VIEW_BODIES[name]
        return HTMLResponse(layout(title, body, request))

    return page


def _door(house: MonitorContext) -> Endpoint:
    async def page(request: Request) -> Response:
        name = f"{request.path_params['site']}/{request.path_params['door']}"
        if house.hub.fleet.door(name) is None:
            more = (
                f" It may be one of {house.hub.fleet.unlisted} that are not listed." if house.hub.fleet.unlisted else ""
            )
            raise HTTPException(404, f"No door of this name is listed.{more}")
        return HTMLResponse(layout(name, door_view(name), request))

    return page


def _stream(house: MonitorContext) -> Endpoint:
    async def stream(request: Request) -> Response:
        if house.hub.pages >= MAX_PAGES:
            return PlainTextResponse("Too many pages are open.\n", 503)
        last_id = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(house.hub.stream(last_id), media_type="text/event-stream", headers=headers)

    return stream


def _events(house: MonitorContext) -> Endpoint:
    async def events(request: Request) -> Response:
        asked = request.query_params
        found = await run_in_threadpool(
            house.history.events,
            MAX_EVENTS,
            before_n=query_number(asked.get("before"), 0, 2**53),
            door=asked.get("door", "")[: 2 * MAX_NAME + 1],
            kind=asked.get("kind", "")[:MAX_NAME],
        )
        return _json(found)

    return events


def _health(house: MonitorContext) -> Endpoint:
    async def health(request: Request) -> Response:
        hours = query_number(request.query_params.get("hours"), 1, MAX_HOURS) or 3
        names = [row.door for row in house.hub.fleet.doors()]

        def read() -> dict[str, list[object]]:
            return {name: list(_health_series(house, name, hours, SMALL_POINTS)) for name in names}

        return _json(await run_in_threadpool(read))

    return health


def _door_health(house: MonitorContext) -> Endpoint:
    async def health(request: Request) -> Response:
        name = f"{request.path_params['site']}/{request.path_params['door']}"
        hours = query_number(request.query_params.get("hours"), 1, MAX_HOURS) or 3
        return _json(await run_in_threadpool(_health_series, house, name, hours, LARGE_POINTS))

    return health


def _health_series(house: MonitorContext, name: str, hours: int, most: int) -> list[object]:
    """The history, and after it what came since its last minute."""
    now_ms = time.time_ns() // 1_000_000
    recent = house.hub.fleet.recent(name)
    from_ms = now_ms - hours * HOUR_MS
    until_ms = recent[0].at_ms if recent else now_ms
    kept = house.history.readings(name, from_ms=from_ms, to_ms=until_ms - 1, most=most)
    step = max(len(recent) // max(most // 2, 1), 1)
    return [*kept, *recent[::-1][::step][::-1]]


def _login(house: MonitorContext) -> Endpoint:
    attempts, keys = LoginThrottle(), house.auth.signer

    async def login(request: Request) -> Response:
        if not keys.required:
            return RedirectResponse("/", 303)
        address = request.client.host if request.client else ""
        told, code, wait_s = "", 200, attempts.wait_s(address, time.monotonic())
        if request.method == "POST" and wait_s > 0:
            told, code = f"Too many wrong tokens. Wait {wait_s:.0f} s.", 429
        elif request.method == "POST":
            if keys.check_token("".join(form_of(request).get("token", ())).strip()):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(
                    house.auth.cookie,
                    keys.open_session(int(time.time())),
                    max_age=SESSION_S,
                    httponly=True,
                    samesite="strict",
                    secure=house.auth.https,
                )
                log.info("%s signed in", address)
                return answer
            attempts.add_failure(address, time.monotonic())
            log.warning("%s: a wrong token", address)
            told, code = "This is not the token.", 403
        page = HTMLResponse(layout("Sign in", login_body(csrf_field(request), told), request), code)
        if code == 429:
            page.headers["Retry-After"] = str(round(wait_s) + 1)
        return page

    return login


def _logout(house: MonitorContext) -> Endpoint:
    async def logout(_request: Request) -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(house.auth.cookie, httponly=True, samesite="strict", secure=house.auth.https)
        return answer

    return logout


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 405: "Not this way"}.get(error.status_code, "This did not work")
    told = error.detail if error.status_code in (404, 422) and "." in error.detail else title
    body = f'<p class="empty">{escaped(told)} <a href="/">To the doors</a></p>'
    return HTMLResponse(layout(title, body, request), error.status_code)


async def _server_error(_request: Request, error: Exception) -> Response:
    log.error("a page failed: %r", error)
    return PlainTextResponse("This page failed; the log says why.\n", 500)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
