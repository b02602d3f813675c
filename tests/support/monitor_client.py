"""A test client of the monitor's pages, which sends their forms as a browser does."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.testclient import TestClient
from threshold_tools.monitor.app import MonitorContext, make_app
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import Hub
from threshold_tools.monitor.security import AuthSettings
from threshold_tools.monitor.sessions import OneTimeCode, SessionSigner

TOKEN = "correct-horse-battery-staple"
OWN_NAME = "desk.example"
ORIGIN = {"Origin": "http://127.0.0.1"}  # header that a browser sends with forms of the page


def monitor_client(
    history: History,
    token: str | None = None,
    *,
    hub: Hub | None = None,
    routes: Sequence[BaseRoute] = (),
    code: OneTimeCode | None = None,
) -> TestClient:
    """A client on this machine; with a token, sign-in is required."""
    auth = AuthSettings(SessionSigner(token), frozenset({OWN_NAME}), token is None, "session", False)
    app = make_app(MonitorContext(hub or Hub(), history, auth, routes, code=code))
    return TestClient(app, "http://127.0.0.1", follow_redirects=False)


def csrf_of(page: str) -> str:
    """The token of the first form on a page."""
    found = re.search(r'name="csrf" value="([\w-]+)"', page)
    assert found
    return found[1]


def sign_in(client: TestClient, token: str = "", *, code: str = "") -> int:
    """Send the sign-in form with a token, or the code of the link; returns the status code."""
    csrf = csrf_of(client.get("/login").text)
    return client.post("/login", data={"csrf": csrf, "token": token, "code": code}, headers=ORIGIN).status_code
