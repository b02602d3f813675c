"""A repository at an HTTP address, also with slow and hostile servers."""

from __future__ import annotations

import functools
import http.server
import logging
import threading
from pathlib import Path

import pytest
from support.release_signer import (
    Door,
    ReleaseSigner,
    settled,
)
from support.slow_repository import FILE_S, SLOW, slow

from edge.core.errors import SourceError
from edge.updates.http_source import Downloader, HttpSource
from edge.updates.release_format import TIMESTAMP


def test_over_http(tmp_path: Path, signer: ReleaseSigner) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(signer.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = HttpSource(f"http://127.0.0.1:{server.server_address[1]}/")
        with Door(tmp_path / "state", signer.root, source) as door:
            settled(door, 1)
        server.shutdown()


@pytest.mark.parametrize("kind", SLOW)
def test_slow_download(kind: str) -> None:
    """A server that sends a byte from time to time reaches the time limit of the file."""
    scheme, head = SLOW[kind]
    with slow(head) as address, pytest.raises(SourceError, match=r"cannot be reached \(not complete after 0.2 s\)"):
        HttpSource(f"{scheme}://{address}", FILE_S).fetch([TIMESTAMP])


@pytest.mark.parametrize("kind", SLOW)
def test_download_too_slow_to_finish(kind: str) -> None:
    """It ends early, so that expiry is detected early."""
    scheme, head = SLOW[kind]
    with slow(head) as address, pytest.raises(TimeoutError, match=r"\d+ bytes after 0.2 s"):
        Downloader(file_s=600, slow_s=0.2).get(f"{scheme}://{address}", 1000)


@pytest.mark.parametrize("kind", SLOW)
def test_stop_during_a_slow_download(
    expiring_signer: ReleaseSigner, state: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The download is interrupted before its limit, and nothing is reported."""
    scheme, head = SLOW[kind]
    connected = threading.Event()
    with slow(head, connected) as address:
        with Door(state, expiring_signer.root, HttpSource(f"{scheme}://{address}")) as door:
            assert connected.wait(10)
        assert [news.status.ok for news in door.news] == [True]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
