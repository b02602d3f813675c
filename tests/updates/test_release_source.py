"""A source of releases that is absent, slow, stuck or hostile: the door notices expiry, goes on, and stops in time."""

from __future__ import annotations

import http.server
import logging
import os
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.mqtt_brokers import wait_until
from support.releases import NOW, Desk, Door, later, mqtt_source

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, ConfigError, SourceError
from edge.recognition import gallery_chunks
from edge.updates.http_source import Downloader, HttpSource
from edge.updates.release_format import TIMESTAMP
from edge.updates.sources import FolderSource, Source
from edge.updates.updater import Updater, open_source

FILE_S = 0.2  # time limit of a file in these tests
TICK_S = 0.02  # a slow server sends a byte in each
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 131072\r\n"
EXPIRED = "timestamp.json: expired; publish again, or check the door's clock"
SLOW = {
    "slow-body": ("http", HEAD + b"\r\n"),
    "slow-headers": ("http", HEAD + b"X: "),
    "slow-handshake": ("https", b"\x16\x03\x03\x40\x00"),  # the head of a TLS record of 16 KiB
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "desk")
    made.release(range(5), valid_days=30)
    return made


@pytest.fixture
def state(tmp_path: Path, desk: Desk) -> Path:
    """The state folder of a door that runs release 1."""
    folder = tmp_path / "state"
    with Door(folder, desk.root, FolderSource(desk.folder)) as door:
        wait_until(lambda: door.release == 1, "release 1")
    return folder


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """A server on a port of its own; yields host:port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def slow(head: bytes, connected: threading.Event | None = None) -> Iterator[str]:
    """A server that sends a head and then one byte after another, as long as somebody reads."""
    over = threading.Event()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if connected:
                connected.set()
            try:
                self.request.sendall(head)
                while not over.wait(TICK_S):
                    self.request.sendall(b"a")
            except OSError:
                return

    with serving(Slow) as address:
        try:
            yield address
        finally:
            over.set()


class Unavailable(http.server.BaseHTTPRequestHandler):
    """Answers 503."""

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def source_of(kind: str, folder: Path) -> Iterator[Source]:
    """A source that gives nothing, of one kind or another."""
    if kind in SLOW:
        scheme, head = SLOW[kind]
        with slow(head) as address:
            yield HttpSource(f"{scheme}://{address}", FILE_S)
    elif kind == "unavailable":
        with serving(Unavailable) as address:
            yield HttpSource(f"http://{address}")
    elif kind == "pipe":
        folder.mkdir()
        os.mkfifo(folder / TIMESTAMP)
        yield FolderSource(folder)
    elif kind == "stick-pulled":
        yield FolderSource(folder)
    elif kind == "no-server":
        yield HttpSource("http://127.0.0.1:1")
    else:
        yield mqtt_source(MqttConfig(url="mqtt://127.0.0.1:1"), "test", "front")


KINDS = [*SLOW, "unavailable", "pipe", "stick-pulled", "no-server", "no-broker"]


@pytest.mark.parametrize("kind", KINDS)
def test_expiry_without_a_reachable_source(
    tmp_path: Path, desk: Desk, state: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Metadata expires by the clock: the door reports it once, and goes on with what it has."""
    with (
        source_of(kind, tmp_path / "source") as source,
        Door(state, desk.root, source, now=lambda: later(365)) as door,
    ):
        wait_until(lambda: "expired" in door.keeper.status.reason, "expiry is reported")
    told = [news.status for news in door.news if "expired" in news.status.reason]
    assert [(each.release, each.ok, each.reason) for each in told] == [(1, False, EXPIRED)]
    assert "stopping without" not in caplog.text


def test_expiry_by_a_wrong_clock(tmp_path: Path, desk: Desk, state: Path) -> None:
    """Once the clock is right, the door no longer reports expiry, although its source is still absent."""
    clock = {"now": later(365)}
    with Door(state, desk.root, FolderSource(tmp_path / "absent"), now=lambda: clock["now"]) as door:
        wait_until(lambda: door.keeper.status.reason == EXPIRED, "expired")
        clock["now"] = NOW
        wait_until(lambda: door.keeper.status.ok, "not expired")
    assert door.keeper.status.reason == "release 1 runs"


def test_expiry_reported_once(tmp_path: Path, desk: Desk, state: Path) -> None:
    """The clock and a look at the repository find the same, which is one event."""
    with Door(state, desk.root, FolderSource(desk.folder), now=lambda: later(31)) as door:
        wait_until(lambda: door.keeper.status.reason == EXPIRED, "expired")
        desk.release(range(7), now=later(31))
        wait_until(lambda: door.release == 2, "release 2")
    assert [news.status.reason for news in door.news if news.refused] == [EXPIRED]


def test_expired_root(tmp_path: Path, desk: Desk) -> None:
    """Also before the first release: what `edge release trust-root` was given expires, too."""
    with Door(tmp_path / "new", desk.root, FolderSource(tmp_path / "absent"), now=lambda: later(3650)) as door:
        wait_until(lambda: door.keeper.status.reason.startswith("trusted root: expired"), "expired")


@pytest.mark.parametrize("kind", SLOW)
def test_slow_download(kind: str) -> None:
    """A server that sends a byte now and then meets the limit of the whole file."""
    scheme, head = SLOW[kind]
    with slow(head) as address, pytest.raises(SourceError, match=r"cannot be reached \(not complete after 0.2 s\)"):
        HttpSource(f"{scheme}://{address}", FILE_S).fetch([TIMESTAMP])


@pytest.mark.parametrize("kind", SLOW)
def test_download_too_slow_to_finish(kind: str) -> None:
    """It ends soon, so that expiry is noticed soon; the limit of the whole file is far away."""
    scheme, head = SLOW[kind]
    with slow(head) as address, pytest.raises(TimeoutError, match=r"\d+ bytes after 0.2 s"):
        Downloader(file_s=600, slow_s=0.2).get(f"{scheme}://{address}", 1000)


@pytest.mark.parametrize("kind", SLOW)
def test_stop_during_a_slow_download(desk: Desk, state: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The download is cut, long before its limit; nothing is reported of it."""
    scheme, head = SLOW[kind]
    connected = threading.Event()
    with slow(head, connected) as address:
        with Door(state, desk.root, HttpSource(f"{scheme}://{address}")) as door:
            assert connected.wait(10)
        assert [news.status.ok for news in door.news] == [True]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Stuck(FolderSource):
    """A folder on a network file system that has stopped answering."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting, self.over = threading.Event(), threading.Event()

    def wait(self, timeout_s: float, root_name: str) -> bool:
        self.waiting.set()
        self.over.wait()
        return super().wait(timeout_s, root_name)


def test_stop_with_a_stuck_source(desk: Desk, state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The door does not wait for it without a limit, and says so."""
    source = Stuck(desk.folder)
    with Door(state, desk.root, source, close_s=0.05):
        assert source.waiting.wait(10)
    assert "stopping without the release source, which has not answered for 0.05 s" in caplog.text
    source.over.set()


def test_source_of_other_than_files(tmp_path: Path) -> None:
    """A pipe or a device in place of a file is refused and never read; a folder is no file."""
    path, source = tmp_path / TIMESTAMP, FolderSource(tmp_path)
    path.mkdir()
    assert source.fetch([TIMESTAMP]) == {}
    path.rmdir()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        make(path)
        with pytest.raises(SourceError, match=r"timestamp.json: not a regular file; remove it"):
            source.fetch([TIMESTAMP])
        path.unlink()


class Breaking(FolderSource):
    """A source whose connection breaks when the pieces are fetched, as often as told."""

    breaks = 1

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        if self.breaks and names and names[0].endswith(".piece"):
            self.breaks -= 1
            raise BrokerError("the connection has ended")
        return super().fetch(names)


def test_connection_broken_during_a_look(tmp_path: Path, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It says nothing about the release: no refusal is reported, the log says it, and the next look succeeds."""
    with Door(tmp_path / "new", desk.root, Breaking(desk.folder)) as door:
        wait_until(lambda: door.release == 1, "release 1")
    assert not [news for news in door.news if news.refused]
    assert "release source not reachable: the connection has ended" in caplog.text


def test_look_without_end(desk: Desk, state: Path) -> None:
    """A look that lasts too long is given up, as if the source could not be reached."""
    door = Door(state, desk.root, FolderSource(desk.folder))
    updater = Updater(FolderSource(desk.folder), door.store, gallery_chunks, 1_000_000, look_s=-1.0)
    with pytest.raises(SourceError, match="too slow"):
        updater.fetch_new_release(NOW)


@pytest.mark.parametrize(
    "address", ["https://ada:secret@host/repo", "http://host/repo?token=secret", "http://host/#secret"]
)
def test_repository_address_with_a_login(address: str) -> None:
    """It is refused without showing it; addresses of repositories are logged and reported."""
    with pytest.raises(ConfigError, match=r"\[release\] source: the address holds a login") as refused:
        open_source(address, MqttConfig(), "home", "client")
    assert "secret" not in str(refused.value)
