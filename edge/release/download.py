"""One file by HTTP within a total time; another thread can interrupt it.

A time limit of the socket alone does not bound a download: a server that sends a byte every few seconds never meets it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

STEP_S = 10.0  # the longest wait for one step: connecting, or the next bytes
FILE_S = 30.0  # the longest download of one file


class Interrupted(Exception):
    """`interrupt` was called."""


class Downloader:
    """Downloads one file after another; one thread downloads, any thread may interrupt.

    Args:
        file_s: the longest time for one file, in seconds.
    """

    def __init__(self, file_s: float = FILE_S) -> None:
        self._file_s = file_s
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None  # a second handle of the connection in use: TLS detaches the first
        self._late = False
        self._interrupted = False
        self._opener = urllib.request.build_opener(_Http(self._watch), _Https(self._watch))

    def get(self, url: str, limit: int) -> bytes:
        """The content of an address, at most `limit` bytes.

        Raises:
            Interrupted: by another thread.
            TimeoutError: it took too long.
            OSError, ValueError, http.client.HTTPException: anything else; HTTPError among them.
        """
        self._late = False
        timer = threading.Timer(self._file_s, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            with self._opener.open(url, timeout=min(STEP_S, self._file_s)) as answer:
                content: bytes = answer.read(limit)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._raise_if_cut(error)
            raise
        finally:
            timer.cancel()
            self._forget()
        self._raise_if_cut(None)
        return content

    def interrupt(self) -> None:
        """End the download in progress and refuse further ones, until `resume`."""
        with self._lock:
            self._interrupted = True
            self._cut()

    def resume(self) -> None:
        """Allow downloads again."""
        self._interrupted = False

    def _raise_if_cut(self, error: Exception | None) -> None:
        if self._interrupted:
            raise Interrupted from error
        if self._late:
            raise TimeoutError(f"not complete after {self._file_s:g} s") from error

    def _time_out(self) -> None:
        with self._lock:
            self._late = True
            self._cut()

    def _watch(self, connected: socket.socket) -> None:
        """Keep a handle of a new connection, by which it can be cut."""
        with self._lock:
            self._close()
            self._handle = connected.dup()
            if self._late or self._interrupted:
                self._cut()

    def _cut(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # it has ended already
                self._handle.shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _Connection(http.client.HTTPConnection):
    watch: Callable[[socket.socket], None]

    def connect(self) -> None:
        super().connect()
        self.watch(self.sock)


class _TlsConnection(http.client.HTTPSConnection, _Connection):
    """Watched from before the TLS handshake on: `HTTPSConnection.connect` calls that of `_Connection` first."""


def _watched(kind: type[_Connection], watch: Callable[[socket.socket], None], *args: Any, **kwargs: Any) -> _Connection:
    connection = kind(*args, **kwargs)
    connection.watch = watch
    return connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connection = partial(_watched, _Connection, watch)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connection = partial(_watched, _TlsConnection, watch)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)
