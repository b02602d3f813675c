"""uvicorn with limited connections, which ends open streams when it stops."""

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

HEAD_S = 10.0  # for a request line with its headers; a body has its own limit in security.py
MAX_CONNECTIONS = 200  # in all; above it every request is answered with 503
MAX_PER_ADDRESS = 100  # more than one person's pages need; above it new connections are closed
MAX_HALF_OPEN = 16  # connections of one address that wait for a request; above it the oldest of them is closed
GRACE_S = 1  # for answers under way at the end


class MonitorServer(uvicorn.Server):
    """Serves an application; `run` returns after a signal.

    Raises:
        InputError: certificate and key cannot be used.
    """

    def __init__(
        self,
        app: Starlette,
        *,
        cert: Path | None = None,  # PEM files, for https
        key: Path | None = None,
        on_started: Callable[[], None],  # called in the event loop when connections are accepted
        closing: Callable[[], None],  # called in the event loop when the server is to end, to end the streams
        head_s: float = HEAD_S,  # longest time for the head of a request
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
            raise InputError(f"{cert}, {key}: not a PEM certificate and its key ({error})") from error
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
    """One connection to uvicorn, closed if its request head takes too long or its address holds too many.

    Half-open connections displace the oldest of their own kind, not new ones: another client at the same address,
    behind the same proxy, still gets an answer during a flood.
    """

    head_s = HEAD_S
    _timeout: asyncio.TimerHandle | None = None  # while a request is awaited
    _network = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._network = network_of(self.client[0] if self.client else "")
        self._await_head()
        peers = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        # a connection that was aborted in this turn of the loop is still among them
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
        """Start the timeout, unless it runs: further bytes of the same head gain no time."""
        if self._timeout is None:
            self._timeout = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()
