"""Where Prometheus fetches a door's figures: one thread, one connection at a time, and the door waits for nothing."""

from __future__ import annotations

import http.server
import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

from edge.config import MetricsConfig
from edge.errors import ConfigError
from edge.messaging.events import EventKind, Health

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # with one read or write of a client
_STOP_S = 0.5  # how long until it notices that it is to stop
_GRACE_S = 1.0  # and how long the door waits for that


class Exporter:
    """Serves the latest figures as http://…/metrics. Making it listens to nothing; `start`, or `with`, does.

    A port that cannot be had is no reason to leave a door unguarded: it is told once, is one of the door's problems,
    and is tried again whenever new figures come.

    Args:
        config: where to listen.
        site: the name of the door's site.

    Attributes:
        port: where it listens.

    Raises:
        ConfigError: `listen` is no address, or prometheus-client is not installed.
    """

    def __init__(self, config: MetricsConfig, site: str) -> None:
        try:
            self._family = socket.AF_INET6 if ipaddress.ip_address(config.listen).version == 6 else socket.AF_INET
        except ValueError as error:
            raise ConfigError(f'[metrics] listen: "{config.listen}" is no IP address, such as 127.0.0.1') from error
        try:
            from edge.door.metrics import Sheet
        except ImportError as error:
            raise ConfigError(
                f"[metrics]: prometheus-client cannot be imported ({error}); "
                "install it with  pip install 'threshold-edge[metrics]'"
            ) from error
        self.port = config.port
        self._address = (config.listen, config.port)
        self._sheet = Sheet(site)
        self._server: _Server | None = None
        self._trouble = ""

    def problem(self) -> str:
        """Why nobody can fetch anything, or ""."""
        return self._trouble

    def show(self, health: Health, *, connected: bool, events: Mapping[EventKind, int]) -> None:
        """Serve these from now on, see `edge.door.metrics.Figures`. Returns at once."""
        self._sheet.write(health, connected, events)
        if self._server is None:
            self.start()

    def start(self) -> None:
        """Begin to listen, if the port can be had."""
        host, port = self._address
        try:
            server = _Server(self._address, self._family, self._sheet.text)
        except OSError as error:
            trouble = f"[metrics]: cannot listen on {host} port {port} ({error.strerror})"
            log.log(logging.DEBUG if self._trouble else logging.WARNING, "%s; trying again", trouble)
            self._trouble = trouble
            return
        self._trouble, self._server = "", server
        log.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
        threading.Thread(target=server.serve_forever, args=(_STOP_S,), name="metrics", daemon=True).start()

    def close(self) -> None:
        """Listen no more, without waiting long for a client that is slow. Closing twice does nothing."""
        server, self._server = self._server, None
        if server is not None:
            ending = threading.Thread(target=server.end, name="metrics-end", daemon=True)
            ending.start()
            ending.join(_GRACE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(socketserver.TCPServer):
    """Not http.server's: that one asks the name server who it is."""

    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], family: socket.AddressFamily, answer: Callable[[str], tuple[str, bytes]]
    ) -> None:
        self.address_family = family
        self.answer = answer
        super().__init__(address, _Handler)

    def end(self) -> None:
        """Stop serving, once the connection at hand is over, and close."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("metrics: a client has gone, or its request failed", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, explain="The figures are at /metrics")
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
