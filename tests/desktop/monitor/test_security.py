"""Checks of every request: who is let in, from which page, by which name; headers of every answer."""

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
    """A client; with a token if one is named."""
    return partial(monitor_client, history)


@pytest.mark.parametrize("path", ["/", "/events", "/health", "/releases", "/api/events", "/stream?x=1"])
def test_nothing_is_shown_without_the_token(open_client: Callable[..., TestClient], path: str) -> None:
    """A person is led to the sign-in page, a script is told plainly."""
    client = open_client(TOKEN)
    assert client.get(path).status_code == 401
    answer = client.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_the_token_opens_a_session_that_signing_out_ends(open_client: Callable[..., TestClient]) -> None:
    """The cookie is for this site and no script."""
    client = open_client(TOKEN)
    assert sign_in(client, "wrong-wrong-wrong-wrong") == 403
    assert sign_in(client, TOKEN) == 303
    page = client.get("/")
    assert page.status_code == 200
    answer = client.post("/logout", data={"csrf": csrf_of(page.text)}, headers=ORIGIN)
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/").status_code == 401


def test_sign_in_link_works_once(history: History) -> None:
    """The code in the address of a GET opens nothing, so that previews and logs of addresses cannot use it."""
    code = OneTimeCode(time.monotonic())
    client = monitor_client(history, TOKEN, code=code)
    assert client.get(f"/login?code={code.text}").status_code == 200
    assert client.get("/").status_code == 401
    assert sign_in(client, code=code.text) == 303
    assert client.get("/").status_code == 200
    assert sign_in(monitor_client(history, TOKEN, code=code), code=code.text) == 403


def test_monitor_without_a_link_accepts_no_code(history: History) -> None:
    client = monitor_client(history, TOKEN)
    assert [sign_in(client, code="x") for _ in range(MAX_FAILURES)] == [403] * MAX_FAILURES
    assert sign_in(client, TOKEN) == 429


def test_guessing_tokens_is_slowed_down(open_client: Callable[..., TestClient]) -> None:
    """After some wrong ones not even the right one is looked at for a while."""
    client = open_client(TOKEN)
    assert [sign_in(client, f"wrong-wrong-wrong-{i}") for i in range(MAX_FAILURES)] == [403] * MAX_FAILURES
    assert sign_in(client, TOKEN) == 429


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "10.0.0.7", "", "[::1", "user@127.0.0.1", "127.0.0.1:x", "127.0.0.1\t"],
)
def test_another_name_for_this_machine_is_not_served(open_client: Callable[..., TestClient], host: str) -> None:
    """A page of evil.example that resolves to 127.0.0.1 (DNS rebinding)."""
    assert open_client().get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1/login?", "127.0.0.1:80/static/?", "127.0.0.1/login#", "[::1]:80:90"])
def test_host_headers_with_a_path_refused(open_client: Callable[..., TestClient], host: str) -> None:
    """starlette 1.0.0 read the path of the request from it, so that any page looked like the sign-in page."""
    assert open_client(TOKEN).get("/", headers={"Host": host}).status_code == 421


def test_two_host_headers_refused(open_client: Callable[..., TestClient]) -> None:
    """The guard could read one and the router the other."""
    assert open_client().get("/", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")]).status_code == 421


def test_paths_open_without_a_token(open_client: Callable[..., TestClient]) -> None:
    """The sign-in page and its looks, nothing that only begins like them."""
    client = open_client(TOKEN)
    assert [client.get(path).status_code for path in ("/login", "/static/monitor.css")] == [200, 200]
    assert [client.get(path).status_code for path in ("/loginx", "/login/x", "/staticx", "/")] == [401] * 4


@pytest.mark.parametrize("host", ["localhost:8450", "127.0.0.1", "[::1]:8450", OWN_NAME])
def test_its_own_names_are_served(open_client: Callable[..., TestClient], host: str) -> None:
    """With and without a port."""
    assert open_client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "csrf", "code"),
    [("http://evil.example", True, 403), ("null", True, 403), ("", True, 403), ("http://127.0.0.1", False, 403)],
)
def test_a_form_of_another_page_is_refused(
    open_client: Callable[..., TestClient], origin: str, csrf: bool, code: int
) -> None:
    """Without our Origin, or without the token of our form."""
    client = open_client(TOKEN)
    sign_in(client, TOKEN)
    data = {"csrf": csrf_of(client.get("/").text)} if csrf else {"csrf": "0"}
    assert client.post("/logout", data=data, headers={"Origin": origin} if origin else {}).status_code == code
    assert client.get("/").status_code == 200


def test_a_form_that_is_too_large_or_no_text_is_refused(open_client: Callable[..., TestClient]) -> None:
    """It is never held whole."""
    client = open_client()
    headers = ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/logout", content=b"a=" + b"x" * 300_000, headers=headers).status_code == 413
    assert client.post("/logout", content=b"\xff=\xff", headers=headers).status_code == 400
    assert client.post("/logout", content=b"{}", headers=ORIGIN).status_code == 415
    assert client.put("/", headers=headers).status_code == 405


def test_every_answer_forbids_inline_scripts_and_framing(open_client: Callable[..., TestClient]) -> None:
    """Also refusals; and no page has an inline script, style or handler."""
    client = open_client()
    for path in ("/", "/events", "/health", "/releases", "/nowhere", "/static/monitor.css"):
        answer = client.get(path)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", answer.text)
    assert "frame-ancestors 'none'" in client.get("/", headers={"Host": "x"}).headers["content-security-policy"]
