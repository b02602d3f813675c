"""A repository at an HTTP address. Each download has a total time limit, and another thread can interrupt it.

A socket timeout alone does not limit a download: a server that sends a byte every few seconds never reaches it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge.core.errors import SourceError
from edge.updates.release_format import FILE_BYTES, is_repo_name
from edge.updates.sources import FolderSource, RepositoryChanged

STEP_S = 10.0  # longest wait for a connection or for the next bytes
FILE_S = 30.0  # longest download of one file
SLOW_S = 5.0  # after this time a download with less than LEAST_BYTES ends; it would not finish in time
LEAST_BYTES = 16 * 1024
_PORTION_BYTES = 64 * 1024


class DownloadInterrupted(Exception):  # noqa: N818 not an error
    """`interrupt` was called."""


class HttpSource(FolderSource):
    """A repository at an HTTP address. It needs neither login nor encryption, because every byte is verified."""

    def __init__(self, url: str, file_s: float = FILE_S) -> None:
        super().__init__(Path())
        self._url = url.rstrip("/")
        self._downloader = Downloader(file_s)

    def wake(self) -> None:
        super().wake()
        self._downloader.interrupt()

    def close(self) -> None:
        super().close()
        self._downloader.resume()

    def _read(self, name: str) -> bytes | None:
        assert is_repo_name(name), name
        try:
            return self._downloader.get(f"{self._url}/{name}", FILE_BYTES + 1)
        except DownloadInterrupted as error:
            raise RepositoryChanged from error
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (403, 404, 410):
                return None
            raise SourceError(f"{self._url}/{name}: the server answers {error.code}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceError(f"{self._url}: cannot be reached ({error})") from error


@dataclass(eq=False)
class Downloader:
    """Downloads one file after another; one thread downloads, any thread may interrupt."""

    file_s: float = FILE_S  # longest time for one file
    slow_s: float = SLOW_S  # after this time a download with less than `LEAST_BYTES` ends

    def __post_init__(self) -> None:
        self._received_bytes = 0
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None  # duplicate of the socket in use, because TLS detaches the first
        self._late = ""  # why the download was ended
        self._interrupted = False
        self._opener = urllib.request.build_opener(_Handler(self._watch))

    def get(self, url: str, limit: int) -> bytes:
        """Download an address, at most `limit` bytes.

        Raises:
            DownloadInterrupted: another thread called `interrupt`.
            TimeoutError: the download took too long, or had less than `LEAST_BYTES` after `slow_s`.
            OSError, ValueError, http.client.HTTPException: another failure, such as HTTPError.
        """
        self._late = ""
        self._received_bytes = 0
        content = bytearray()
        timers = [threading.Timer(self.slow_s, self._end_slow), threading.Timer(self.file_s, self._end_late)]
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            with self._opener.open(url, timeout=min(STEP_S, self.file_s)) as answer:
                while portion := answer.read1(min(_PORTION_BYTES, limit - len(content))):
                    content += portion
                    self._received_bytes = len(content)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._raise_if_cut(error)
            raise
        finally:
            for timer in timers:
                timer.cancel()
            with self._lock:
                self._close()
        self._raise_if_cut(None)
        return bytes(content)

    def interrupt(self) -> None:
        """End the current download, and refuse further downloads until `resume`."""
        with self._lock:
            self._interrupted = True
            self._cut()

    def resume(self) -> None:
        """Allow downloads again."""
        self._interrupted = False

    def _raise_if_cut(self, error: Exception | None) -> None:
        if self._interrupted:
            raise DownloadInterrupted from error
        if self._late:
            raise TimeoutError(self._late) from error

    def _end_slow(self) -> None:
        with self._lock:
            if self._received_bytes < LEAST_BYTES:
                self._late = f"{self._received_bytes} bytes after {self.slow_s:g} s"
                self._cut()

    def _end_late(self) -> None:
        with self._lock:
            self._late = f"not complete after {self.file_s:g} s"
            self._cut()

    def _watch(self, connected: socket.socket) -> None:
        """Keep a duplicate of a new socket, to cut the connection."""
        with self._lock:
            self._close()
            self._handle = connected.dup()
            if self._late or self._interrupted:
                self._cut()

    def _cut(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # already ended
                self._handle.shutdown(socket.SHUT_RDWR)

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
    """Watched before the TLS handshake, because `HTTPSConnection.connect` calls `_Connection.connect` first."""


def _watched(kind: type[_Connection], watch: Callable[[socket.socket], None], *args: Any, **kwargs: Any) -> _Connection:
    connection = kind(*args, **kwargs)
    connection.watch = watch
    return connection


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections and passes each socket to `watch`."""

    def __init__(self, watch: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_watched, _Connection, self._watch), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_watched, _TlsConnection, self._watch), req)
