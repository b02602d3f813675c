"""What every request goes through before a page answers it, and every answer before it leaves.

Host: a page of another name that resolves to this machine (DNS rebinding) is not served. Sign-in: where a token is
wanted, nothing but the sign-in page and its looks is shown without a session. POST: only from our own pages (Origin)
and with the token of their forms. Answers: a content security policy without inline scripts or styles, and no caching.
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

from threshold_tools.monitor.request_context import CSRF, Fields, RequestContext
from threshold_tools.monitor.sessions import SessionSigner

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::[0-9]{1,5})?")  # RFC 9110, 7.2
MAX_FORM_BYTES = 256 * 1024  # of a form
BODY_S = 20.0  # a form that takes longer to arrive is given up
MAX_FIELDS = 5000
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


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Whom the guard lets in.

    Attributes:
        keys: sessions and forms.
        names: host names by which we may be called, lower case; an address is a name that nobody can take over.
        only_loopback: of addresses, only this machine's own.
        cookie: name of the session's cookie.
        secure: whether we speak https.
    """

    signer: SessionSigner
    host_names: frozenset[str]
    loopback_only: bool
    cookie: str
    https: bool


class SecurityMiddleware:
    """ASGI middleware; leaves its findings in `request.state.visit`."""

    def __init__(self, app: ASGIApp, rules: AuthSettings) -> None:
        self._app = app
        self._auth = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        request = Request(scope, receive)
        refusal, visit = await self._authorize(request)
        if refusal is not None:
            await refusal(scope, receive, dressed)
            return
        scope["state"] = {**scope.get("state", {}), "visit": visit}

        async def nothing_more() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await self._app(scope, nothing_more if request.method == "POST" else receive, dressed)

    async def _authorize(self, request: Request) -> tuple[Response | None, RequestContext]:
        """Why the request is turned away, or None; and what the pages may know of it."""
        rules, nobody = self._auth, RequestContext("", {}, False)
        if not host_allowed(request.headers.getlist("host"), rules):
            told = "This name is not ours. Use the address itself, or start the monitor with --name NAME.\n"
            return PlainTextResponse(told, 421), nobody
        cookie = request.cookies.get(rules.cookie, "")
        holds = rules.signer.required and rules.signer.session_valid(cookie, int(time.time()))
        bound = cookie if holds else ""
        if rules.signer.required and not holds and not is_public(request.scope["path"]):
            return _sign_in_first(request), nobody
        fields: Fields = {}
        if request.method == "POST":
            refusal, fields = await self._check_form(request, bound)
            if refusal is not None:
                return refusal, nobody
        elif request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET, HEAD and POST.\n", 405, {"Allow": "GET, HEAD, POST"}), nobody
        return None, RequestContext(rules.signer.csrf_token(bound), fields, holds)

    async def _check_form(self, request: Request, cookie: str) -> tuple[Response | None, Fields]:
        own = f"{'https' if self._auth.https else 'http'}://{request.headers['host']}"
        if request.headers.get("origin", "").lower() != own.lower():
            return PlainTextResponse("Forms are taken from our own pages only.\n", 403), {}
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return PlainTextResponse("Only application/x-www-form-urlencoded.\n", 415), {}
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        return PlainTextResponse("Too much at once.\n", 413), {}
            fields = form_fields(bytes(body))
        except (ValueError, TimeoutError, ClientDisconnect):
            return PlainTextResponse("This form cannot be read.\n", 400), {}
        if not self._auth.signer.csrf_valid("".join(fields.get(CSRF, ())), cookie):
            return PlainTextResponse("This form is too old. Go back, load the page again, and repeat.\n", 403), {}
        return None, fields


def is_public(path: str) -> bool:
    """Whether a path is served without a session.

    Args:
        path: as the router matches it (`scope["path"]`), never as `request.url` puts it together from the Host header.
    """
    return path == "/login" or path.startswith("/static/")


def host_allowed(hosts: Sequence[str], rules: AuthSettings) -> bool:
    """Whether the Host headers of a request are one, and name us; any port will do."""
    match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    if match is None:
        return False
    name = match["v6"] or match["name"]
    if name in rules.host_names or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not rules.loopback_only


def form_fields(body: bytes) -> Mapping[str, tuple[str, ...]]:
    """What application/x-www-form-urlencoded bytes say.

    Raises:
        ValueError: not ASCII, not UTF-8 within, or too many fields.
    """
    parsed = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    return {name: tuple(values) for name, values in parsed.items()}


def _sign_in_first(request: Request) -> Response:
    """To the sign-in page where a person asks for a page; plainly 401 to a script."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/login", 303)
    return PlainTextResponse("Sign in first.\n", 401)
