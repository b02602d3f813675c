"""Checks of every request (sign-in, origin, host name), and headers of every response."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

import pytest
from starlette.testclient import TestClient
from support.monitor_client import ORIGIN, OWN_NAME, TOKEN, csrf_of, monitor_client, sign_in
from threshold_tools.monitor.history import History
from threshold_tools.monitor.sessions import MAX_FAILURES, OneTimeCode


@pytest.fixture
def open_client(history: History) -> Callable[..., TestClient]:
    """Makes a client; with a token, sign-in is required."""
    return partial(monitor_client, history)


@pytest.mark.parametrize("path", ["/", "/events", "/health", "/releases", "/api/events", "/stream?x=1"])
def test_pages_and_data_need_a_session(open_client: Callable[..., TestClient], path: str) -> None:
    """A browser is redirected to the sign-in page; a script gets a 401."""
    client = open_client(TOKEN)
    assert client.get(path).status_code == 401
    answer = client.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_session_from_sign_in_to_sign_out(open_client: Callable[..., TestClient]) -> None:
    """The cookie is for this site only, and hidden from scripts."""
    client = open_client(TOKEN)
    assert sign_in(client, "wrong-wrong-wrong-wrong") == 403
    assert sign_in(client, TOKEN) == 303
    page = client.get("/")
    assert page.status_code == 200
    answer = client.post("/logout", data={"csrf": csrf_of(page.text)}, headers=ORIGIN)
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/").status_code == 401


def test_sign_in_link_works_once(history: History) -> None:
    """Only a POST accepts the code, so previews of the link cannot use it up."""
    code = OneTimeCode(time.monotonic())
    client = monitor_client(history, TOKEN, code=code)
    assert client.get(f"/login?code={code.text}").status_code == 200
    assert client.get("/").status_code == 401
    assert sign_in(client, code=code.text) == 303
    assert client.get("/").status_code == 200
    assert sign_in(monitor_client(history, TOKEN, code=code), code=code.text) == 403


def test_wrong_codes_do_not_block_an_address(history: History) -> None:
    """Another site can open any number of links with wrong codes in the browser of an operator."""
    client = monitor_client(history, TOKEN)
    assert [sign_in(client, code="x") for _ in range(MAX_FAILURES)] == [403] * MAX_FAILURES
    assert sign_in(client, TOKEN) == 303


def test_wrong_tokens_throttled(open_client: Callable[..., TestClient]) -> None:
    """After some wrong tokens, even the right one is rejected for a while."""
    client = open_client(TOKEN)
    assert [sign_in(client, f"wrong-wrong-wrong-{i}") for i in range(MAX_FAILURES)] == [403] * MAX_FAILURES
    assert sign_in(client, TOKEN) == 429


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "10.0.0.7", "", "[::1", "user@127.0.0.1", "127.0.0.1:x", "127.0.0.1\t"],
)
def test_unknown_host_name_rejected(open_client: Callable[..., TestClient], host: str) -> None:
    """A page of evil.example that resolves to 127.0.0.1 (DNS rebinding)."""
    assert open_client().get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1/login?", "127.0.0.1:80/static/?", "127.0.0.1/login#", "[::1]:80:90"])
def test_host_header_with_a_path_rejected(open_client: Callable[..., TestClient], host: str) -> None:
    """starlette 1.0.0 read the request path from it, so that every page looked like the sign-in page."""
    assert open_client(TOKEN).get("/", headers={"Host": host}).status_code == 421


def test_two_host_headers_rejected(open_client: Callable[..., TestClient]) -> None:
    """The check could read one of them, and the router the other."""
    assert open_client().get("/", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")]).status_code == 421


def test_paths_without_sign_in(open_client: Callable[..., TestClient]) -> None:
    """The sign-in page and static files, and no path that only begins like them."""
    client = open_client(TOKEN)
    assert [client.get(path).status_code for path in ("/login", "/static/monitor.css")] == [200, 200]
    assert [client.get(path).status_code for path in ("/loginx", "/login/x", "/staticx", "/")] == [401] * 4


@pytest.mark.parametrize("host", ["localhost:8450", "127.0.0.1", "[::1]:8450", OWN_NAME])
def test_allowed_host_names(open_client: Callable[..., TestClient], host: str) -> None:
    """With and without a port."""
    assert open_client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "csrf", "code"),
    [("http://evil.example", True, 403), ("null", True, 403), ("", True, 403), ("http://127.0.0.1", False, 403)],
)
def test_form_of_another_site_rejected(
    open_client: Callable[..., TestClient], origin: str, csrf: bool, code: int
) -> None:
    """Because its Origin differs, or its form token is wrong."""
    client = open_client(TOKEN)
    sign_in(client, TOKEN)
    data = {"csrf": csrf_of(client.get("/").text)} if csrf else {"csrf": "0"}
    assert client.post("/logout", data=data, headers={"Origin": origin} if origin else {}).status_code == code
    assert client.get("/").status_code == 200


def test_oversized_or_malformed_form_rejected(open_client: Callable[..., TestClient]) -> None:
    """Reading stops at the limit."""
    client = open_client()
    headers = ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/logout", content=b"a=" + b"x" * 300_000, headers=headers).status_code == 413
    assert client.post("/logout", content=b"\xff=\xff", headers=headers).status_code == 400
    assert client.post("/logout", content=b"{}", headers=ORIGIN).status_code == 415
    assert client.put("/", headers=headers).status_code == 405


def test_inline_scripts_and_framing_forbidden(open_client: Callable[..., TestClient]) -> None:
    """In every response, also in errors; and no page has an inline script, style or handler."""
    client = open_client()
    for path in ("/", "/events", "/health", "/releases", "/nowhere", "/static/monitor.css"):
        answer = client.get(path)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", answer.text)
    assert "frame-ancestors 'none'" in client.get("/", headers={"Host": "x"}).headers["content-security-policy"]
