"""Checks of every request before a page answers it, and the security headers of every answer.

Host: a page of another name that resolves to this machine (DNS rebinding) is not served. Sign-in: if a token is
required, only the sign-in page and the static files are served without a session. POST: only from our own pages
(Origin) and with the token of their forms. Answers: a content security policy without inline scripts or styles, and no
caching.
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
BODY_S = 20.0  # longest time for a form to arrive
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::[0-9]{1,5})?")  # RFC 9110, 7.2
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without a referrer browsers would send "Origin: null" with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Form = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who is let in."""

    signer: SessionSigner  # of sessions and forms
    # names that requests may use for this machine, lower case; addresses are always allowed, because nobody can take
    # one over as they can a name
    host_names: frozenset[str]
    loopback_only: bool  # of addresses, only this machine's own are allowed
    cookie: str  # name of the session's cookie
    https: bool  # whether the server uses TLS


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the pages may know of a request that was let in; `request.state.context`."""

    csrf: str  # token that a form must return in its field `CSRF`
    form: Form  # posted values by name, in order, at most `MAX_FORM_BYTES` in all; empty for a GET
    signed_in: bool  # whether a session is open that signing out would end


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
        """The answer that rejects the request, or its context."""
        auth = self._auth
        if not host_allowed(request.headers.getlist("host"), auth):
            return PlainTextResponse(
                "This name is not ours. Use the address itself, or start the monitor with --name NAME.\n", 421
            )
        cookie = request.cookies.get(auth.cookie, "")
        signed_in = auth.signer.required and auth.signer.session_valid(cookie, int(time.time()))
        session = cookie if signed_in else ""
        path: str = request.scope["path"]  # as the router matches it; request.url has the Host header in it
        if auth.signer.required and not signed_in and path != "/login" and not path.startswith("/static/"):
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/login", 303)
            return PlainTextResponse("Sign in first.\n", 401)  # for a script
        form: Form = {}
        if request.method == "POST":
            found = await self._check_form(request, session)
            if isinstance(found, Response):
                return found
            form = found
        elif request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET, HEAD and POST.\n", 405, {"Allow": "GET, HEAD, POST"})
        return RequestContext(auth.signer.csrf_token(session), form, signed_in)

    async def _check_form(self, request: Request, session: str) -> Response | Form:
        """The answer that rejects a POST, or its form."""
        own = f"{'https' if self._auth.https else 'http'}://{request.headers['host']}"
        if request.headers.get("origin", "").lower() != own.lower():
            return PlainTextResponse("Forms are taken from our own pages only.\n", 403)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return PlainTextResponse("Only application/x-www-form-urlencoded.\n", 415)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        return PlainTextResponse("Too much at once.\n", 413)
            form = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except (ValueError, TimeoutError, ClientDisconnect):  # not ASCII, not UTF-8 within, or too many fields
            return PlainTextResponse("This form cannot be read.\n", 400)
        if not self._auth.signer.csrf_valid("".join(form.get(CSRF, ())), session):
            return PlainTextResponse("This form is too old. Go back, load the page again, and repeat.\n", 403)
        return form


def host_allowed(hosts: Sequence[str], auth: AuthSettings) -> bool:
    """Whether a request has exactly one Host header, and it names this machine, with any port."""
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
