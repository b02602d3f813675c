"""The web application: pages and data of doors, events, health and releases, and the sign-in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import MAX_PAGES, Hub
from threshold_tools.monitor.pages import KIND_TEXTS, NAV, client_address, query_number, render, request_context
from threshold_tools.monitor.security import AuthSettings, SecurityMiddleware
from threshold_tools.monitor.sessions import CODE_S, SESSION_S, LoginThrottle, OneTimeCode

log = logging.getLogger(__name__)

MAX_EVENTS = 100  # from the history, in one response
MAX_HOURS = 24 * 31
SMALL_POINTS, LARGE_POINTS = 48, 240  # of a plot
HOUR_MS = 3_600_000
_VIEWS = {"/": "doors.html", "/events": "events.html", "/health": "health.html", "/releases": "releases.html"}


@dataclass(frozen=True, slots=True)
class MonitorContext:
    """Data of the pages, and settings of the sign-in."""

    hub: Hub  # the doors and the latest events
    history: History  # earlier events and health
    auth: AuthSettings  # sign-in and allowed hosts
    routes: Sequence[BaseRoute] = ()  # more routes, such as people and unknown visitors
    # called in the running event loop
    on_start: Callable[[asyncio.AbstractEventLoop], None] = field(default=lambda _: None)
    throttle: LoginThrottle = field(default_factory=LoginThrottle)  # of wrong tokens
    code: OneTimeCode | None = None  # of the sign-in link; None: there is no link


def make_app(context: MonitorContext) -> Starlette:
    """The application, for a server or a test."""
    routes = [
        *(Route(path, _view) for path in _VIEWS),
        Route("/doors/{site}/{door}", _door),
        Route("/stream", _stream),
        Route("/api/events", _events),
        Route("/api/health", _health),
        Route("/login", _login, methods=["GET", "POST"]),
        Route("/logout", _logout, methods=["POST"]),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        *context.routes,
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        context.on_start(asyncio.get_running_loop())
        yield

    app = Starlette(
        routes=routes,
        middleware=[Middleware(SecurityMiddleware, auth=context.auth)],
        exception_handlers={HTTPException: _http_error, 500: _server_error},
        lifespan=lifespan,
    )
    app.state.context = context
    paths = {route.path for route in routes if isinstance(route, Route)}
    app.state.nav = {path: name for path, name in NAV.items() if path in paths}
    return app


def _context(request: Request) -> MonitorContext:
    context: MonitorContext = request.app.state.context
    return context


async def _view(request: Request) -> Response:
    return render(request, _VIEWS[request.scope["path"]], kinds=KIND_TEXTS)


async def _door(request: Request) -> Response:
    name, fleet = f"{request.path_params['site']}/{request.path_params['door']}", _context(request).hub.fleet
    if fleet.door(name) is None:
        more = f" It may be one of the {fleet.unlisted} doors that are not listed." if fleet.unlisted else ""
        raise HTTPException(404, f"No door of this name has reported.{more}")
    return render(request, "door.html", title=name)


async def _stream(request: Request) -> Response:
    hub = _context(request).hub
    if hub.pages >= MAX_PAGES:
        return PlainTextResponse("Too many pages are open; close some.\n", 503)
    last_id = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
    return StreamingResponse(hub.stream(last_id), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _events(request: Request) -> Response:
    query = request.query_params
    found = _context(request).history.events(
        MAX_EVENTS,
        before_n=query_number(request, "before", 0, 2**53),
        door=query.get("door", "")[: 2 * MAX_NAME + 1],
        kind=query.get("kind", "")[:MAX_NAME],
    )
    return _json(found)


async def _health(request: Request) -> Response:
    """Health samples by door: a fine series of the door in the query, or coarse ones of all doors."""
    door = request.query_params.get("door", "")
    names = [door] if door else [row.door for row in _context(request).hub.fleet.doors()]
    points = LARGE_POINTS if door else SMALL_POINTS
    return _json(await run_in_threadpool(lambda: {name: _health_series(request, name, points) for name in names}))


def _health_series(request: Request, name: str, points: int) -> list[object]:
    """Health of a door in the requested hours: from the history, then the latest samples at full rate."""
    context, hours = _context(request), query_number(request, "hours", 1, MAX_HOURS) or 3
    now_ms = time.time_ns() // 1_000_000
    recent = context.hub.fleet.recent(name)
    until_ms = recent[0].at_ms if recent else now_ms
    kept = context.history.health(name, from_ms=now_ms - hours * HOUR_MS, to_ms=until_ms - 1, most=points)
    step = max(len(recent) // max(points // 2, 1), 1)
    return [*kept, *recent[::-1][::step][::-1]]


async def _login(request: Request) -> Response:
    context, address = _context(request), client_address(request)
    auth, throttle = context.auth, context.throttle
    if not auth.signer.required:
        return RedirectResponse("/", 303)
    if request.method != "POST":
        return render(request, "sign_in.html", error="")
    if (wait_s := throttle.wait_s(address, time.monotonic())) > 0:
        page = render(request, "sign_in.html", 429, error=f"Too many wrong tokens. Wait {wait_s:.0f} s.")
        page.headers["Retry-After"] = str(round(wait_s) + 1)
        return page
    form = request_context(request).form
    token, code = ("".join(form.get(name, ())).strip() for name in ("token", "code"))
    if code:
        right = context.code is not None and context.code.redeem(code, time.monotonic())
        error = f"This link has been used, or is older than {CODE_S // 60} minutes. Enter the token."
    else:
        right, error = auth.signer.check_token(token), "This is not the token."
    if not right:
        if not code:  # a code is too long to guess, and links of other sites must not block the address
            throttle.add_failure(address, time.monotonic())
        log.warning("sign-in rejected: address=%s", address)
        return render(request, "sign_in.html", 403, error=error)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        auth.cookie,
        auth.signer.open_session(int(time.time())),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=auth.https,
    )
    log.info("signed in: address=%s", address)
    return answer


async def _logout(request: Request) -> Response:
    auth = _context(request).auth
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(auth.cookie, httponly=True, samesite="strict", secure=auth.https)
    return answer


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 405: "Not allowed"}.get(error.status_code, "This did not work")
    text = error.detail if error.status_code in (404, 422) and "." in error.detail else title
    return render(request, "error.html", error.status_code, title=title, text=text)


async def _server_error(_request: Request, error: Exception) -> Response:
    log.error("a page failed: %r", error)
    return PlainTextResponse("This page failed; see the log of the monitor.\n", 500)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
