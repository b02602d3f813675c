"""Checks every request, and sets the security headers of every response.

Host: names that are not allowed are rejected, against DNS rebinding. Sign-in: if a token is required, requests without
a session get only the sign-in page and static files. POST: only from pages of the monitor (Origin) and with their form
token. Responses: a content security policy without inline scripts and styles, and no caching.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threshold_tools.monitor.sessions import SessionSigner

CSRF = "csrf"  # name of the hidden field with the form's token
MAX_FORM_BYTES = 256 * 1024
MAX_FIELDS = 5000
BODY_S = 20.0  # timeout of a form
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::[0-9]{1,5})?")  # RFC 9110, 7.2
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send "Origin: null" with forms of the monitor
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Form = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Settings of sign-in and allowed hosts."""

    signer: SessionSigner  # signs sessions and form tokens
    # allowed names of this machine, lower case; addresses are always allowed, because DNS cannot redirect them
    host_names: frozenset[str]
    loopback_only: bool  # whether loopback addresses are the only allowed ones
    cookie: str  # name of the session cookie
    https: bool  # whether the server uses TLS


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Data of an accepted request for the pages, in `request.state.context`."""

    csrf: str  # form token, for the field `CSRF`
    form: Form  # posted values by name, in order; empty for a GET
    signed_in: bool  # whether there is a session that signing out ends


class SecurityMiddleware:
    """ASGI middleware that rejects a request or sets its `RequestContext`."""

    def __init__(self, app: ASGIApp, auth: AuthSettings) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        request = Request(scope, receive)
        found = await self._authorize(request)
        if isinstance(found, Response):
            await found(scope, receive, send_with_headers)
            return
        scope["state"] = {**scope.get("state", {}), "context": found}

        async def empty_body() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await self._app(scope, empty_body if request.method == "POST" else receive, send_with_headers)

    async def _authorize(self, request: Request) -> Response | RequestContext:
        """The response that rejects the request, or its context."""
        auth = self._auth
        if not host_allowed(request.headers.getlist("host"), auth):
            return PlainTextResponse(
                "This host name is not allowed. Use the IP address, or start the monitor with --name NAME.\n", 421
            )
        cookie = request.cookies.get(auth.cookie, "")
        signed_in = auth.signer.required and auth.signer.session_valid(cookie, int(time.time()))
        session = cookie if signed_in else ""
        path: str = request.scope["path"]  # as the router uses it; request.url depends on the Host header
        if auth.signer.required and not signed_in and path != "/login" and not path.startswith("/static/"):
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/login", 303)
            return PlainTextResponse("Sign in first.\n", 401)  # no browser
        form: Form = {}
        if request.method == "POST":
            found = await self._check_form(request, session)
            if isinstance(found, Response):
                return found
            form = found
        elif request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET, HEAD and POST are allowed.\n", 405, {"Allow": "GET, HEAD, POST"})
        return RequestContext(auth.signer.csrf_token(session), form, signed_in)

    async def _check_form(self, request: Request, session: str) -> Response | Form:
        """The response that rejects a POST, or its form."""
        own = f"{'https' if self._auth.https else 'http'}://{request.headers['host']}"
        if request.headers.get("origin", "").lower() != own.lower():
            return PlainTextResponse("Only forms of this monitor are accepted.\n", 403)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return PlainTextResponse("Only application/x-www-form-urlencoded is accepted.\n", 415)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        return PlainTextResponse("This form is too large.\n", 413)
            form = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except (ValueError, TimeoutError, ClientDisconnect):  # not ASCII, not UTF-8 when decoded, or too many fields
            return PlainTextResponse("This form cannot be read.\n", 400)
        if not self._auth.signer.csrf_valid("".join(form.get(CSRF, ())), session):
            return PlainTextResponse("This form has expired. Go back, reload the page, and try again.\n", 403)
        return form


def host_allowed(hosts: Sequence[str], auth: AuthSettings) -> bool:
    """Whether there is exactly one Host header, with an allowed name or address and any port."""
    match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    if match is None:
        return False
    name = match["v6"] or match["name"]
    if name in auth.host_names or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not auth.loopback_only
