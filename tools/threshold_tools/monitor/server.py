"""A uvicorn server with limited connections, which ends open streams when it stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.core.errors import InputError
from threshold_tools.monitor.sessions import network_of

HEAD_S = 10.0  # timeout of a request line with its headers; security.py limits the body
MAX_CONNECTIONS = 200  # of all addresses; above it, every request gets a 503
MAX_PER_ADDRESS = 100  # above it, new connections are closed; the pages of one person need fewer
MAX_HALF_OPEN = 16  # connections of one address without a complete request; above it, the oldest is closed
GRACE_S = 1  # time for unfinished responses when stopping


class MonitorServer(uvicorn.Server):
    """Runs an application; `run` returns after a signal.

    Raises:
        InputError: the certificate or the key cannot be used.
    """

    def __init__(
        self,
        app: Starlette,
        *,
        cert: Path | None = None,  # PEM files, for https
        key: Path | None = None,
        on_started: Callable[[], None],  # called in the event loop when the server accepts connections
        closing: Callable[[], None],  # called in the event loop before the server stops, to end the streams
        head_s: float = HEAD_S,  # timeout of the head of a request
    ) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=type("LimitedProtocol", (LimitedProtocol,), {"head_s": head_s}),
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=30,
            limit_concurrency=MAX_CONNECTIONS,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"{cert}, {key}: not a PEM certificate and its private key ({error})") from error
        super().__init__(config)
        self._on_started = on_started
        self._closing = closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing()
        await super().shutdown(sockets)


class LimitedProtocol(H11Protocol):
    """One connection, closed if its request head takes too long or its address has too many connections.

    When an address has too many half-open connections, the oldest of them is closed, not the new one. Another client at
    the same address, such as behind the same proxy, therefore gets a response during a flood.
    """

    head_s = HEAD_S
    _timeout: asyncio.TimerHandle | None = None  # set while a request is expected
    _network = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._network = network_of(self.client[0] if self.client else "")
        self._await_head()
        peers = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        # includes connections that were aborted in this iteration of the loop
        peers = [each for each in peers if each._network == self._network and not each.transport.is_closing()]
        if len(peers) > MAX_PER_ADDRESS:
            transport.abort()
            return
        waiting = [(each._timeout.when(), each) for each in peers if each._timeout is not None]
        if len(waiting) > MAX_HALF_OPEN:
            _, oldest = min(waiting, key=lambda pair: pair[0])
            oldest._give_up()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Start the timeout, unless it is running: more bytes of the same head do not extend it."""
        if self._timeout is None:
            self._timeout = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()
