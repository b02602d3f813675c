"""HTTP server for Prometheus; the door never waits for a client.

Every request has a total deadline, and at most eight connections are open: another one closes the oldest. Therefore
slow clients neither block others nor exhaust threads.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from edge.core.config import MetricsConfig
from edge.core.errors import ConfigError
from edge.events.schema import EventKind, Health

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

log = logging.getLogger(__name__)

_CLIENT_TIMEOUT_S = 2.0  # for a request with its response
_CONNECTIONS = 8
_STOP_S = 0.5  # interval at which the server checks whether to stop
_CLOSE_TIMEOUT_S = 1.0  # longest time that the door waits for the server to stop


class Exporter:
    """HTTP server of the latest metrics at /metrics; listens after `start`, or in a `with` block.

    If the port is in use, the door continues: the problem is logged once, is in the health report, and every update
    retries.

    Args:
        config: address and port.
        deadline_s: time limit of a request with its response; then the connection is closed.

    Raises:
        ConfigError: `listen` is not an IP address, or prometheus-client is not installed.
    """

    def __init__(self, config: MetricsConfig, site: str, deadline_s: float = _CLIENT_TIMEOUT_S) -> None:
        try:
            self._family = socket.AF_INET6 if ipaddress.ip_address(config.listen).version == 6 else socket.AF_INET
        except ValueError as error:
            raise ConfigError(f'[metrics] listen: "{config.listen}" is not an IP address such as 127.0.0.1') from error
        try:
            from edge.runtime.prometheus import DoorCollector
        except ImportError as error:
            raise ConfigError(
                f"[metrics]: prometheus-client cannot be imported ({error}); "
                "install it with  pip install prometheus-client"
            ) from error
        self.port = config.port  # TCP port
        self._address = (config.listen, config.port)
        self._collector = DoorCollector(site)
        self._deadline_s = deadline_s
        self._server: _Server | None = None
        self._problem = ""

    def problem(self) -> str:
        """Current problem of the server, or ""."""
        return self._problem

    def update(self, health: Health, *, connected: bool, events: Mapping[EventKind, int]) -> None:
        """Replace the values, see `edge.runtime.prometheus.DoorCollector.update`. Does not block."""
        self._collector.update(health, connected, events)
        if self._server is None:
            self.start()

    def start(self) -> None:
        """Start listening, unless the port is in use."""
        host, port = self._address
        try:
            server = _Server(self._address, self._family, self._collector.text, self._deadline_s)
        except OSError as error:
            problem = f"[metrics]: cannot listen on {host} port {port} ({error.strerror})"
            log.log(logging.DEBUG if self._problem else logging.WARNING, "%s; trying again", problem)
            self._problem = problem
            return
        self._problem, self._server = "", server
        log.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
        threading.Thread(target=server.serve_forever, args=(_STOP_S,), name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening and close all connections, without waiting for slow clients. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            ending = threading.Thread(target=server.end, name="metrics-end", daemon=True)
            ending.start()
            ending.join(_CLOSE_TIMEOUT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread for each connection. Not http.server.HTTPServer, which queries the name server."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        family: socket.AddressFamily,
        answer: Callable[[str], tuple[str, bytes]],
        deadline_s: float,
    ) -> None:
        self.address_family = family
        self.answer = answer
        self.deadline_s = deadline_s
        self._changing = threading.Lock()
        self._connections: list[socket.socket] = []  # oldest first
        super().__init__(address, _MetricsHandler)

    def end(self) -> None:
        """Stop the server, close the connections, and free the port."""
        self.shutdown()
        self.server_close()
        with self._changing:
            for connection in self._connections:
                _hang_up(connection)

    def admit(self, connection: socket.socket) -> None:
        """Add a connection; closes the oldest if there are too many."""
        with self._changing:
            self._connections.append(connection)
            if len(self._connections) > _CONNECTIONS:
                _hang_up(self._connections.pop(0))

    def dismiss(self, connection: socket.socket) -> None:
        """Remove a connection."""
        with self._changing:
            if connection in self._connections:
                self._connections.remove(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("metrics: the client disconnected, or its request failed", exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    """Interrupt the thread that reads from a connection; the thread then closes it."""
    with contextlib.suppress(OSError):  # the client has disconnected already
        connection.shutdown(socket.SHUT_RDWR)


class _DeadlineStream(io.RawIOBase):
    """Connection whose reads and writes raise TimeoutError after a common deadline."""

    def __init__(self, connection: socket.socket, deadline_s: float) -> None:
        self._connection = connection
        self._until_s = time.monotonic() + deadline_s

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._limit()
        return self._connection.recv_into(buffer)

    def write(self, content: ReadableBuffer) -> int:
        self._limit()
        self._connection.sendall(content)  # the timeout is for the whole content
        return memoryview(content).nbytes

    def _limit(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left_s)


class _MetricsHandler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        self.connection = self.request
        self.server.admit(self.connection)
        timed = _DeadlineStream(self.connection, self.server.deadline_s)
        self.rfile, self.wfile = io.BufferedReader(timed), io.BufferedWriter(timed)

    def finish(self) -> None:
        self.server.dismiss(self.connection)
        super().finish()

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, explain="The metrics are at /metrics")
            return
        kind, body = self.server.answer(self.headers.get("Accept", ""))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "threshold"

    def log_message(self, format: str, *args: object) -> None:
        log.debug("metrics: " + format, *args)
