"""uvicorn in a thread of its own, so that a signal ends it at once, also while pages have their streams open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from edge.core.errors import InputError, ThresholdError
from threshold_tools.monitor.connections import HEAD_S, MAX_CONNECTIONS, limited_protocol

POLL_S = 0.02
GRACE_S = 1  # for answers under way at the end
START_S = 20.0


@contextlib.contextmanager
def serve(
    app: Starlette,
    sock: socket.socket,
    *,
    cert: Path | None = None,
    key: Path | None = None,
    stop: threading.Event,
    closing: Callable[[], None],
    head_s: float = HEAD_S,
) -> Iterator[None]:
    """Serve within the block.

    Args:
        sock: bound already.
        cert, key: PEM files, for https.
        stop: set when the server ends by itself.
        closing: called in the event loop when it is to end, to end the streams.
        head_s: longest time for the head of a request.

    Raises:
        InputError: certificate and key cannot be used.
        ThresholdError: the server does not start.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=limited_protocol(head_s),
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
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[sock])

    def work() -> None:
        try:
            asyncio.run(serve())
        finally:
            stop.set()

    thread = threading.Thread(target=work, name="server", daemon=True)
    thread.start()
    pause = threading.Event()
    for _ in range(round(START_S / POLL_S)):
        if server.started or not thread.is_alive():
            break
        pause.wait(POLL_S)
    if not server.started:
        raise ThresholdError("the server does not start; the lines above say why")
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loops[0].call_soon_threadsafe(closing)
        thread.join(GRACE_S + 4)
