"""The monitor's page: who is let in, what is remembered, and that nothing hostile comes through."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.mqtt_brokers import Mosquitto, config_for, needs_mosquitto, wait_until

pytest.importorskip("starlette", reason="needs the monitor extra")
pytest.importorskip("uvicorn", reason="needs the monitor extra")
pytest.importorskip("httpx2", reason="starlette's test client needs httpx2")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from support.monitor_fleet import Fleet, a_health, a_release, a_status, an_event
from threshold_tools.monitor.app import MonitorContext, make_app
from threshold_tools.monitor.fleet import MAX_DOORS, MAX_TEXT, EventRow, clean_text, event_row
from threshold_tools.monitor.history import MAX_QUEUED, History, Retention
from threshold_tools.monitor.history_database import BATCH_ROWS, DAY_MS
from threshold_tools.monitor.hub import Hub
from threshold_tools.monitor.security import AuthSettings
from threshold_tools.monitor.server import HEAD_S, MAX_PER_ADDRESS, serve
from threshold_tools.monitor.sessions import MAX_FAILURES, LoginThrottle, SessionSigner, read_token

from edge.core.errors import InputError
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Subscriber

TOKEN = "correct-horse-battery-staple"
NOW_MS = 1_800_000_000_000
ROOT = Path(__file__).parents[3]
PEOPLE = str(ROOT / "edge" / "demo" / "people")
HOSTILE = '"><script>alert(1)</script>\u202e\x00'


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "h.sqlite", Retention(30, 1000), now_ms=NOW_MS) as made:
        yield made


@pytest.fixture
def open_client(history: History) -> Callable[..., TestClient]:
    """A client for a house; with a token if one is named."""

    def make(token: str | None = None, hub: Hub | None = None, **headers: str) -> TestClient:
        auth = AuthSettings(SessionSigner(token), frozenset({"desk.example"}), token is None, "session", False)
        context = MonitorContext(hub or Hub(), history, auth)
        return TestClient(make_app(context), "http://127.0.0.1", headers=headers, follow_redirects=False)

    return make


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([\w-]+)"', page)
    assert found
    return found[1]


def sign_in(client: TestClient, token: str, **headers: str) -> int:
    csrf = csrf_of(client.get("/login").text)
    headers = {"Origin": "http://127.0.0.1"} | headers
    return client.post("/login", data={"csrf": csrf, "token": token}, headers=headers).status_code


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
    answer = client.post("/logout", data={"csrf": csrf_of(page.text)}, headers={"Origin": "http://127.0.0.1"})
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/").status_code == 401


def test_a_forged_or_expired_session_is_none() -> None:
    """Signed by another key, altered, or too old."""
    keys = SessionSigner(TOKEN)
    cookie = keys.open_session(1000)
    assert keys.session_valid(cookie, 1000 + 3600)
    assert not keys.session_valid(cookie, 1000 + 13 * 3600)
    assert not keys.session_valid("9" + cookie, 1000)
    assert not SessionSigner(TOKEN + "2").session_valid(cookie, 1000)
    assert not keys.session_valid("", 1000)


def test_sign_in_form_no_test_of_guesses() -> None:
    """What its form brings back differs from process to process, so it says nothing about the token."""
    assert SessionSigner(TOKEN).csrf_token("") != SessionSigner(TOKEN).csrf_token("")
    assert (
        SessionSigner(TOKEN).csrf_token("a")
        == SessionSigner(TOKEN).csrf_token("a")
        != SessionSigner(TOKEN).csrf_token("b")
    )


def test_form_of_a_session_refused_without_it(open_client: Callable[..., TestClient]) -> None:
    """The sign-in page's token is no token of a session, nor the other way round."""
    keys = SessionSigner(TOKEN)
    cookie = keys.open_session(1000)
    assert keys.csrf_valid(keys.csrf_token(cookie), cookie)
    assert not keys.csrf_valid(keys.csrf_token(""), cookie)
    assert not keys.csrf_valid(keys.csrf_token(cookie), "")


@contextmanager
def served(head_s: float = HEAD_S) -> Iterator[tuple[str, int]]:
    """A small application on a real socket, in the monitor's server; its address."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(serve(app, listening, stop=threading.Event(), closing=lambda: None, head_s=head_s))
        yield listening.getsockname()


def answered(address: tuple[str, int]) -> bytes:
    """The first line of an answer on a connection of its own."""
    with socket.create_connection(address, 5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").readline().strip()


def ended(client: socket.socket) -> bool:
    """Wait for the other end to close a connection on which it has sent nothing."""
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_half_open_requests_shut_nobody_out() -> None:
    """210 requests without an end, of the same address: the oldest are closed, and a whole one is answered."""
    with served() as address, ExitStack() as stack:
        for _ in range(210):
            client = stack.enter_context(socket.create_connection(address, 5))
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert answered(address) == b"HTTP/1.1 200 OK"


def test_request_head_that_never_ends() -> None:
    """Its time runs from the first byte, and also on a connection that has been answered before."""
    with served(head_s=0.05) as address:
        with socket.create_connection(address, 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
            assert ended(client)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            lines = client.makefile("rb")
            while lines.readline().strip():
                pass
            assert lines.read(4) == b"here"
            client.sendall(b"GET / HT")
            assert ended(client)


def test_idle_connections_of_one_address_bounded() -> None:
    """Above a number new ones are closed, also where each has had its answer."""
    with served(head_s=60) as address, ExitStack() as stack:
        for _ in range(MAX_PER_ADDRESS):
            client = stack.enter_context(socket.create_connection(address, 5))
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert ended(stack.enter_context(socket.create_connection(address, 5)))


def test_guessing_tokens_is_slowed_down(open_client: Callable[..., TestClient]) -> None:
    """After some wrong ones not even the right one is looked at for a while."""
    client = open_client(TOKEN)
    assert [sign_in(client, f"wrong-wrong-wrong-{i}") for i in range(MAX_FAILURES)] == [403] * MAX_FAILURES
    assert sign_in(client, TOKEN) == 429


def test_wrong_tokens_from_one_ipv6_network() -> None:
    """A host has 2^64 IPv6 addresses to itself; they count as one."""
    attempts = LoginThrottle()
    for i in range(MAX_FAILURES):
        attempts.add_failure(f"2001:db8::{i}", 0.0)
    assert attempts.wait_s("2001:db8::ffff", 1.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 1.0) == 0
    assert attempts.wait_s("192.0.2.1", 1.0) == 0


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


@pytest.mark.parametrize("host", ["localhost:8450", "127.0.0.1", "[::1]:8450", "desk.example"])
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
    headers = {"Origin": "http://127.0.0.1", "Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/logout", content=b"a=" + b"x" * 300_000, headers=headers).status_code == 413
    assert client.post("/logout", content=b"\xff=\xff", headers=headers).status_code == 400
    assert client.post("/logout", content=b"{}", headers={"Origin": "http://127.0.0.1"}).status_code == 415
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


def test_hostile_words_of_a_door_are_shown_as_text(open_client: Callable[..., TestClient]) -> None:
    """In its name, a person's name and a reason."""
    hub = Hub()
    hub.on_message("s", HOSTILE, an_event("x", 0, name=HOSTILE, reason=HOSTILE), NOW_MS)
    (row,) = hub.latest(10)
    assert "\u202e" not in row.reason + row.who + row.door
    assert "\x00" not in row.reason + row.who + row.door
    client = open_client(hub=hub)
    shown = hub.fleet.doors()[0].door.partition("/")[2]
    page = client.get("/doors/s/" + "".join(f"%{byte:02x}" for byte in shown.encode()))
    assert page.status_code == 404 or "<script>alert" not in page.text


def test_texts_are_cut_and_doors_are_counted() -> None:
    """Whoever may write to the broker cannot fill the monitor."""
    assert len(clean_text("x" * 10**6)) == MAX_TEXT
    hub = Hub()
    for i in range(MAX_DOORS + 5):
        hub.on_message("s", f"d{i}", a_status("d"), NOW_MS)
    hub.on_message("s", "n" * 500, a_status("d"), NOW_MS)
    assert (len(hub.fleet.doors()), hub.fleet.unlisted, hub.fleet.rejected) == (MAX_DOORS, 5, 1)


def first_portion(hub: Hub) -> dict[str, Any]:
    """What a page is sent first."""

    async def read() -> bytes:
        async for message in hub.stream(""):
            return message
        return b""

    found: dict[str, Any] = json.loads(asyncio.run(read()).partition(b"data: ")[2])
    return found


def test_events_of_doors_that_are_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    """They are taken and shown as any other; how many doors that are is on the page, and once in the log."""
    hub = Hub()
    for i in range(MAX_DOORS):
        hub.on_message("s", f"d{i}", a_status("d"), NOW_MS)
    for door in ("x", "y", "y"):
        row = hub.on_message("s", door, an_event(door, 1), NOW_MS)
        assert row is not None
        assert row.door == f"s/{door}"
    assert [each.door for each in hub.latest(3)] == ["s/x", "s/y", "s/y"]
    assert (first_portion(hub)["unlisted"], len(first_portion(hub)["doors"])) == (2, MAX_DOORS)
    assert len([line for line in caplog.messages if "more than 2000 doors" in line]) == 1


def test_impossible_values_of_a_door_made_harmless() -> None:
    """An instant that is none, numbers without end, surrogates and long texts: the page gets plain values."""
    hub = Hub()
    release = msgspec.structs.replace(a_release("a", 2**70, reason="x" * 9999), applied_at="2026-99-99T99:99:99.999Z")
    hub.on_message("s", "a", release, NOW_MS)
    hub.on_message("s", "a", msgspec.structs.replace(a_health("a", 1), fps=float("inf"), uptime_s=1e300), NOW_MS)
    event = msgspec.structs.replace(
        an_event("a", 1, reason="\ud800<b>"), at="9999-99-99T99:99:99.999Z", distance_sq=1e99
    )
    hub.on_message("s", "a", event, NOW_MS)
    hub.on_message("s", "b", a_status("b"), NOW_MS)
    portion = first_portion(hub)
    first, other = portion["doors"]
    assert (first["release"]["applied_ms"], first["release"]["release"], len(first["release"]["reason"])) == (
        None,
        2**53,
        MAX_TEXT,
    )
    assert (first["health"]["fps"], first["uptime_s"]) == (0, 0)
    assert (portion["events"][0]["at_ms"], portion["events"][0]["distance_sq"]) == (NOW_MS, 0)
    assert portion["events"][0]["reason"] == "\ufffd<b>"
    assert other["door"] == "s/b"
    assert "99T99" not in json.dumps(portion)


def test_a_door_is_what_it_said_last() -> None:
    """Status, health, release and last event become one row."""
    hub = Hub()
    for record in (a_status("a"), a_health("a", 3, problems=["hot"]), a_release("a", 7), an_event("a", 1)):
        hub.on_message("s", "a", record, NOW_MS)
    (row,) = hub.fleet.doors()
    assert (row.door, row.status, row.problems, row.camera) == ("s/a", "online", ("hot",), "lost")
    assert row.release is not None
    assert row.last is not None
    assert (row.release.release, row.last.kind, row.health is not None) == (7, "door-open", True)


def test_a_copy_of_an_event_is_shown_and_kept_once(history: History) -> None:
    """Delivery is at least once; also after a restart."""
    event, hub = an_event("a", 1), Hub()
    row = hub.on_message("s", "a", event, NOW_MS)
    assert row is not None
    assert hub.on_message("s", "a", event, NOW_MS + 5) is None
    history.add_event(row)
    wait_until(lambda: len(history.events(10)) == 1, "it is written")
    again = Hub(history.last_number(), history.events(10))
    assert again.on_message("s", "a", event, NOW_MS + 9) is None
    assert [each.id for each in again.latest(10)] == [event.id]


def test_history_survives_a_restart_and_can_be_asked(tmp_path: Path) -> None:
    """By door and kind, in portions, newest first."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        name = history.name
        for i in range(8):
            row = hub.on_message("s", "ab"[i % 2], an_event("x", i), NOW_MS + i)
            assert row is not None
            history.add_event(row)
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        assert (history.name, history.last_number()) == (name, 8)
        assert [row.n for row in history.events(3, before_n=7)] == [6, 5, 4]
        assert [row.n for row in history.events(9, door="s/b", kind="unknown")] == [8, 4]
        assert [row.n for row in history.last_of_each_door()] == [7, 8]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("bounds", "left"), [(Retention(30, 3), 3), (Retention(1, 1000), 4)])
def test_history_is_bounded_by_days_and_rows(tmp_path: Path, bounds: Retention, left: int) -> None:
    """What is beyond goes when it is opened, and every ten minutes."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        for i in range(8):
            row = hub.on_message("s", "a", an_event("a", i), NOW_MS + i * DAY_MS // 4)
            assert row is not None
            history.add_event(row)
    with History(path, bounds, now_ms=NOW_MS + 2 * DAY_MS) as history:
        assert len(history.events(100)) == left


def rows_of(count: int) -> list[EventRow]:
    """Events of one door, numbered from 1."""
    row = event_row("s/a", an_event("a", 1), NOW_MS, 0)
    return [msgspec.structs.replace(row, n=n, id=f"id-{n}") for n in range(1, count + 1)]


def test_two_monitors_on_one_history(tmp_path: Path) -> None:
    """The second is refused in one line; after the first has ended it may."""
    path = tmp_path / "h.sqlite"
    with History(path, Retention(30, 1000), now_ms=NOW_MS), pytest.raises(InputError) as refused:
        History(path, Retention(30, 1000), now_ms=NOW_MS)
    assert f"another monitor (process {os.getpid()}) writes this history" in str(refused.value)
    with History(path, Retention(30, 1000), now_ms=NOW_MS):
        pass


def test_oldest_waiting_rows_dropped_and_counted(history: History) -> None:
    """While the disk takes nothing the latest events are kept, the oldest that wait go, and their number is known."""
    with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        rows = rows_of(2 * MAX_QUEUED + 5)
        for row in rows:
            history.add_event(row)
        other.execute("ROLLBACK")
    wait_until(lambda: history.last_number() == rows[-1].n, "the newest is written")
    with closing(sqlite3.connect(history.path)) as db:
        (kept,) = db.execute("SELECT COUNT(*) FROM event").fetchone()
    assert history.dropped >= 5
    assert kept + history.dropped == len(rows)


def test_many_old_rows_deleted_in_portions(tmp_path: Path) -> None:
    """More than one portion goes, without a new row to wake the writer."""
    path, rows = tmp_path / "h.sqlite", rows_of(2 * BATCH_ROWS + 10)
    with History(path, Retention(30, len(rows)), now_ms=NOW_MS) as history:
        for row in rows:
            history.add_event(row)
    with History(path, Retention(30, 7), now_ms=NOW_MS) as history:
        wait_until(lambda: len(history.events(len(rows))) == 7, "the old ones are gone")


def test_bounds_of_events_and_health_apart(tmp_path: Path) -> None:
    """Many health readings do not shorten the events' history, nor the other way round."""
    path, hub = tmp_path / "h.sqlite", Hub()
    with History(path, Retention(30, 1000), now_ms=NOW_MS) as history:
        for row in rows_of(20):
            history.add_event(row)
        for i in range(20):
            hub.on_message("s", "a", a_health("a", i), NOW_MS + i * 60_000)
            history.add_health("s/a", hub.fleet.recent("s/a")[-1])
    for bounds, events, readings in ((Retention(30, 1000, 5), 20, 5), (Retention(30, 4, 1000), 4, 5)):
        with History(path, bounds, now_ms=NOW_MS) as history:
            assert len(history.events(100)) == events
            assert len(history.health("s/a", from_ms=0, to_ms=2 * NOW_MS, most=10**9)) == readings


def test_events_of_one_door_by_an_index(tmp_path: Path) -> None:
    """Also in a file from before there was one: a quiet door is found without reading those of the others."""
    path = tmp_path / "h.sqlite"
    with History(path, Retention(30, 1000), now_ms=NOW_MS):
        pass
    with closing(sqlite3.connect(path)) as old:
        for index in ("event_door", "event_kind"):
            old.execute(f"DROP INDEX IF EXISTS {index}")
    with History(path, Retention(30, 1000), now_ms=NOW_MS), closing(sqlite3.connect(path)) as db:
        plan = db.execute(
            "EXPLAIN QUERY PLAN SELECT body FROM event WHERE n < 9 AND door = 'a' ORDER BY n DESC LIMIT 9"
        ).fetchall()
    assert "event_door (door=? AND n<?)" in str(plan)


def test_health_is_kept_by_the_minute_and_read_as_means(history: History) -> None:
    """A span has at most as many points as asked for."""
    hub = Hub()
    for i in range(240):
        hub.on_message("s", "a", a_health("a", i), NOW_MS + i * 30_000)
        history.add_health("s/a", hub.fleet.recent("s/a")[-1])
    wait_until(lambda: len(history.health("s/a", from_ms=0, to_ms=2 * NOW_MS, most=10**9)) == 120, "written")
    some = history.health("s/a", from_ms=NOW_MS, to_ms=NOW_MS + 7_200_000, most=12)
    assert 10 <= len(some) <= 14
    assert all(14 <= each.fps <= 16 for each in some)


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    """One line says so."""
    other, text = tmp_path / "other.sqlite", tmp_path / "text"
    sqlite3.connect(other).execute("CREATE TABLE mine (x)").connection.close()
    text.write_text("no database" * 100)
    for path in (other, text, tmp_path / "no" / "folder.sqlite"):
        with pytest.raises(InputError, match="history cannot be used"):
            History(path, Retention(1, 1), now_ms=0)


def test_a_weak_or_public_token_file_is_refused(tmp_path: Path) -> None:
    """Too short, or readable by others."""
    path = tmp_path / "token"
    for content, mode, told in (("short\n", 0o600, "16 are needed"), (TOKEN, 0o644, "others may read")):
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(InputError, match=told):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--listen", "desk"], "is no address"),
        (["--broker", "mqtt://other.example"], "not encrypted"),
        (["--people", "/nowhere"], "no such folder"),
        (["--cert", "x"], "go together"),
        (["--publish", "repo", "--people", PEOPLE, "--site", "s"], "--publish needs --crops, --people and --site"),
        (["--crops", "/dev/null/faces"], "cannot be used for pictures"),
        (["--keep-crops-days", "0"], "must be positive"),
        (["--crops", "/tmp", "--publish", "/nowhere", "--people", PEOPLE, "--site", "s"], "no repository"),
        (["--listen", "0.0.0.0", "--token-file", "/nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line(words: list[str], told: str) -> None:
    """And exit code 2."""
    command = [sys.executable, str(ROOT / "tools" / "monitor.py"), "--port", "0", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_lasting_session_brings_what_came_while_nobody_listened(tmp_path: Path, protocol: str) -> None:
    """QoS 1 waits at the broker for the name that asked for it, and for no other."""
    with Mosquitto(tmp_path) as broker:
        mqtt = config_for(broker, protocol=protocol)
        doors, channels = Topics("works", "+"), [Channel.EVENTS]
        for session in ("mine", None):
            with Subscriber(mqtt, doors, channels, session=session):
                pass
        with Fleet(mqtt) as fleet:
            fleet.say("a", an_event("a", 1))
        with Subscriber(mqtt, doors, channels, session="mine") as subscriber:
            assert next(subscriber.messages(8.0)).door == Topics("works", "a")
        with Subscriber(mqtt, doors, channels) as subscriber:
            assert list(subscriber.messages(0.1)) == []
