"""Connection limits of the server, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from threshold_tools.monitor.server import HEAD_S, MAX_PER_ADDRESS, MonitorServer


@contextmanager
def served(head_s: float = HEAD_S) -> Iterator[tuple[str, int]]:
    """Runs a small application in the server; yields its address."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        started = threading.Event()
        server = MonitorServer(app, on_started=started.set, closing=lambda: None, head_s=head_s)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert started.wait(20)
        yield listening.getsockname()
        server.should_exit = True
        thread.join(5)


def answered(address: tuple[str, int]) -> bytes:
    """The first line of a response on a new connection."""
    with socket.create_connection(address, 5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").readline().strip()


def ended(client: socket.socket) -> bool:
    """Wait until the server closes a connection without a response."""
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_half_open_requests_do_not_block_others() -> None:
    """Of 210 unfinished requests of one address the oldest are closed, and a complete one gets its response."""
    with served() as address, ExitStack() as stack:
        for _ in range(210):
            client = stack.enter_context(socket.create_connection(address, 5))
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert answered(address) == b"HTTP/1.1 200 OK"


def test_unfinished_request_head_times_out() -> None:
    """Its timeout starts with the first byte, also on a connection that was used before."""
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
    """Above the limit new connections are closed, even if all others are idle."""
    with served(head_s=60) as address, ExitStack() as stack:
        for _ in range(MAX_PER_ADDRESS):
            client = stack.enter_context(socket.create_connection(address, 5))
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert ended(stack.enter_context(socket.create_connection(address, 5)))
