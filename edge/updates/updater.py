"""Checks a repository once: verifies its release, fetches missing files, and stores the complete release.

`edge.updates.worker` activates it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.core.config import MqttConfig
from edge.core.errors import ConfigError, ReleaseError, SourceError, ThresholdError
from edge.recognition import gallery_chunks
from edge.updates.http_source import HttpSource
from edge.updates.release_format import (
    CHUNK_BYTES,
    RELEASE_FILE,
    TIMESTAMP,
    Release,
    ReleaseFile,
    decode_release,
    piece_name,
    sha256_of,
    split_bytes,
)
from edge.updates.sources import MAX_TOPICS, FolderSource, MqttSource, Source
from edge.updates.store import ReleaseStore
from edge.updates.tuf_client import expired, metadata_expiry, next_root_name, verify_release

CHECK_TIMEOUT_S = 3600.0  # longest check; enough for 64 MB at 18 kB/s


@dataclass(frozen=True, slots=True)
class StagedRelease:
    """A stored and verified release that is not in use yet."""

    release: Release
    digest: str
    folder: str
    path: Path


@dataclass(eq=False)
class Updater:
    """Fetches releases from one repository for one door."""

    source: Source
    store: ReleaseStore
    max_bytes: int  # largest release to accept
    timeout_s: float = CHECK_TIMEOUT_S  # longest time for one check

    def __post_init__(self) -> None:
        self._deadline_s = 0.0  # monotonic
        self._root = self.store.root()
        self._expiry: dict[str, datetime] | None = None  # of the verified metadata

    def root_name(self) -> str:
        """Name of the next root metadata."""
        return next_root_name(self.store.metadata, self._root)

    def expired(self, now: datetime) -> str:
        """Message about verified metadata that has expired by `now` (aware) or is damaged; "": none. Offline."""
        try:
            if self._expiry is None:
                self._expiry = metadata_expiry(self.store.metadata, self._root)
        except ReleaseError as error:
            return str(error)
        return expired(self._expiry, now)

    def fetch_new_release(self, now: datetime) -> StagedRelease | None:
        """Fetch and store a new release; None if the repository offers the release in use.

        Raises:
            ReleaseError: the offered release is rejected.
            ConnectionError: the repository cannot be reached, or is too slow; also a ThresholdError.
            RepositoryChanged: start again.
        """
        self._deadline_s = time.monotonic() + self.timeout_s
        self._expiry = None
        current = self.store.current()
        if current is None and self._fetch_one(TIMESTAMP) is None:  # nothing was published yet
            return None
        content = verify_release(self.store.metadata, self._fetch_one, self._root, now)
        digest = sha256_of(content)
        if current is not None and current.digest == digest:
            return None
        if current is not None and current.failed == digest:
            raise ReleaseError(current.failure)
        release = decode_release(content, self.max_bytes)
        if current is not None and release.release < current.release:
            raise ReleaseError(
                f"{RELEASE_FILE}: release {release.release} is older than {current.release}, which is in use here"
            )
        files = self._assemble(release, current.folder if current else "")
        folder = self.store.write(release.release, content, files)
        return StagedRelease(release, digest, folder, self.store.release_dir(folder))

    def _fetch_one(self, name: str) -> bytes | None:
        return self._fetch([name]).get(name)

    def _fetch(self, names: list[str]) -> dict[str, bytes]:
        """Fetch files by name, without missing ones; raises SourceError for a source that is too slow."""
        found: dict[str, bytes] = {}
        for start in range(0, len(names), MAX_TOPICS):
            if time.monotonic() > self._deadline_s:
                raise SourceError(f"the repository is too slow: not all files have arrived within {self.timeout_s:g} s")
            found |= self.source.fetch(names[start : start + MAX_TOPICS])
        return found

    def _assemble(self, release: Release, running: str) -> dict[str, bytes]:
        """The files of a release, from pieces of the release in use and fetched pieces."""
        local = self._local_chunks(release, running)
        wanted = {piece.sha256: piece for entry in release.files for piece in entry.pieces}
        names = [piece_name(sha256) for sha256 in wanted if sha256 not in local]
        for name, content in self._fetch(names).items():
            sha256 = sha256_of(content)
            if piece_name(sha256) != name:
                raise ReleaseError(f"{name}: damaged, its SHA-256 differs")
            local[sha256] = content
        missing = [sha256 for sha256 in wanted if sha256 not in local]
        if missing:
            raise ReleaseError(f"{piece_name(missing[0])}: missing ({len(missing)} of {len(wanted)} pieces missing)")
        return {
            entry.name: self._assemble_file(entry, [local[piece.sha256] for piece in entry.pieces])
            for entry in release.files
        }

    def _local_chunks(self, release: Release, running: str) -> dict[str, bytes]:
        """Pieces of the release in use, cut as in the new release."""
        local: dict[str, bytes] = {}
        if not running:
            return local
        for entry in release.files:
            try:
                content = self.store.read(running, entry.name)
                pieces = gallery_chunks.split(content, entry.rows, CHUNK_BYTES) if entry.rows else split_bytes(content)
            except (OSError, ValueError, ThresholdError):
                continue
            local |= {sha256_of(piece): piece for piece in pieces}
        return local

    def _assemble_file(self, entry: ReleaseFile, pieces: list[bytes]) -> bytes:
        try:
            content = gallery_chunks.assemble(pieces, entry.length) if entry.rows else b"".join(pieces)
        except ValueError as error:
            raise ReleaseError(f"{entry.name}: its pieces do not fit together ({error})") from error
        if sha256_of(content) != entry.sha256 or len(content) != entry.length:
            raise ReleaseError(f"{entry.name}: its SHA-256 is not the signed one")
        return content


def open_source(source: str, mqtt: MqttConfig, site: str, client_id: str) -> Source:
    """The source that `[release] source` names: "mqtt", an http(s) address, or a folder.

    Raises:
        ConfigError: the address contains a login or a query, which would appear in logs and reports.
    """
    if source == "mqtt":
        return MqttSource(mqtt, site, client_id)
    if source.startswith(("http://", "https://")):
        if set("@?#") & set(source):
            raise ConfigError(
                '[release] source: the address contains a login or a query ("@", "?" or "#"); remove it: '
                "every file is verified, so the server needs no login"
            )
        return HttpSource(source)
    return FolderSource(Path(source))
