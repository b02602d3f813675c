"""HTTP connections that cannot be held open without a request, nor taken up by one address."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from threshold_tools.monitor.sessions import network_of

HEAD_S = 10.0  # for a request line with its headers; a body has its own limit in the guard
MAX_CONNECTIONS = 200  # in all; above it every request is answered with 503
MAX_PER_ADDRESS = 100  # more than one person's pages need; above it new connections are closed
MAX_HALF_OPEN = 16  # connections of one address that wait for a request; above it the oldest of them is closed


class LimitedProtocol(H11Protocol):
    """One connection to uvicorn, closed where its request head takes too long or its address holds too many.

    Half-open connections push out the oldest of their own kind, not new ones: somebody at the same address, behind the
    same proxy, still gets an answer while another floods.
    """

    head_s = HEAD_S
    _waiting: asyncio.TimerHandle | None = None
    _network = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._network = network_of(self.client[0] if self.client else "")
        self._wait_for_head()
        peers = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        # a connection that was aborted in this turn of the loop is still among them
        peers = [each for each in peers if each._network == self._network and not each.transport.is_closing()]
        if len(peers) > MAX_PER_ADDRESS:
            transport.abort()
            return
        waiting = [(each._waiting.when(), each) for each in peers if each._waiting is not None]
        if len(waiting) > MAX_HALF_OPEN:
            _, oldest = min(waiting, key=lambda pair: pair[0])
            oldest._give_up()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        """Begin to count, unless that has begun: further bytes of the same head win no time."""
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()


def limited_protocol(head_s: float) -> type[LimitedProtocol]:
    """The protocol with another limit for request heads, in seconds."""
    return type("LimitedProtocol", (LimitedProtocol,), {"head_s": head_s})
