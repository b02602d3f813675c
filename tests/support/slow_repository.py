"""Repositories that do not answer or answer slowly."""

from __future__ import annotations

import http.server
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.core.config import MqttConfig
from edge.updates.http_source import HttpSource
from edge.updates.release_format import TIMESTAMP
from edge.updates.sources import FolderSource, Source
from support.release_signer import (
    mqtt_source,
)

FILE_S = 0.2  # time limit of a file in these tests


TICK_S = 0.02  # time between two bytes of a slow server


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 131072\r\n"


SLOW = {
    "slow-body": ("http", HEAD + b"\r\n"),
    "slow-headers": ("http", HEAD + b"X: "),
    "slow-handshake": ("https", b"\x16\x03\x03\x40\x00"),  # the head of a TLS record of 16 KiB
}


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """Run a server on a free port; yields host:port."""
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
    """Run a server that sends a head and then one byte after another."""
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
    """Responds with 503."""

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def source_of(kind: str, folder: Path) -> Iterator[Source]:
    """Yield a source that delivers nothing, of the given kind."""
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
