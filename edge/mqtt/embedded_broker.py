"""MQTT broker in this process, for the demo and for tests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import Future
from typing import Any, Self

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, InputError

log = logging.getLogger(__name__)

START_S = 10.0


class EmbeddedBroker:
    """amqtt in a thread, on 127.0.0.1 only. It speaks MQTT 3.1.1, accepts every client and stores nothing on disk.

    Args:
        port: port to listen on; 0: a free port.

    Raises:
        InputError: amqtt is not installed.
        BrokerError: the broker does not start.
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.port = port

    @property
    def config(self) -> MqttConfig:
        """Configuration of a client, with the version that the broker speaks."""
        return MqttConfig(url=self.url, protocol="3.1.1")

    @property
    def url(self) -> str:
        """Address of the broker, for [mqtt] url."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the broker and return when it accepts connections."""
        try:
            import amqtt.broker  # noqa: F401  an extra, and slow to import
        except ImportError as error:
            raise InputError(
                f"the embedded broker needs amqtt, which cannot be imported ({error}); "
                "install it with  pip install amqtt"
            ) from error
        for name in ("amqtt", "transitions", "passlib"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="embedded-broker", daemon=True)
        self._thread.start()
        try:
            started.result(START_S)
        except Exception as error:
            self.close()
            raise BrokerError(f"{self.url}: the embedded broker does not start ({error})") from error

    def close(self) -> None:
        """Stop the broker and drop all connections. Closing twice does nothing."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(START_S)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as error:
            if not started.done():
                started.set_exception(error)

    async def _serve(self, started: Future[None]) -> None:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
        from amqtt.broker import Broker

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_ignore_loop_errors)
        broker = Broker(_CONFIG)
        _deliver_before_disconnecting(broker)
        await broker.start()
        writers: set[asyncio.StreamWriter] = set()

        async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            try:
                await broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")
            except Exception as error:  # a client that disconnected, or whose packets amqtt cannot parse
                log.debug("embedded broker: %s", error)
            finally:
                writers.discard(writer)
                writer.transport.abort()

        # This listening socket, not one of amqtt, lets the system choose the port, and can be closed cleanly.
        server = await asyncio.start_server(serve_client, "127.0.0.1", self._wanted)
        self.port = server.sockets[0].getsockname()[1]
        started.set_result(None)
        await self._stop.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await broker.shutdown()


def _deliver_before_disconnecting(broker: Any) -> None:
    """Disconnect a client only when its messages have been delivered.

    amqtt 0.12 acknowledges a message before it delivers it, and drops acknowledged messages when the client
    disconnects. On Python 3.13 the last events of a door were often lost.
    """
    handle_messages = broker._client_message_loop

    async def handle_all_messages(session: Any, handler: Any) -> None:
        wait_disconnect = handler.wait_disconnect

        async def wait_until_delivered() -> Any:
            packet = await wait_disconnect()
            while not session.delivered_message_queue.empty():
                await asyncio.sleep(0)
            return packet

        handler.wait_disconnect = wait_until_delivered
        await handle_messages(session, handler)

    broker._client_message_loop = handle_all_messages


_CONFIG: dict[str, Any] = {
    "listeners": {"default": {"type": "external"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


def _ignore_loop_errors(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.debug("embedded broker: %s", context.get("exception") or context.get("message"))
