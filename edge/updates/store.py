"""Releases on the disk of the door, and the release in use.

    <state>/release/root.json       root metadata given by `edge release trust-root`
    <state>/release/metadata/       metadata verified by TUF, with the highest versions so far
    <state>/release/current.json    release in use; replaced atomically
    <state>/release/releases/<n>-<digest>/   one complete release

A release is written to a new folder, made durable, and only then named in `current.json`. So a start finds a complete
release, old or new, after any interruption. Releases that `current.json` does not name are securely deleted at the next
start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.core.errors import DECODE_ERRORS, ReleaseError
from edge.core.files import atomic_write, fsync_dir, secure_delete
from edge.core.reasons import Reason
from edge.recognition.encryption import GalleryKey, decrypt_if_needed, encrypt
from edge.updates.release_format import GALLERY, POLICY, RELEASE_FILE, Release, sha256_of

# Suffix of the marker of a filtered file; it contains the new SHA-256, or nothing if the file was removed.
_FILTERED_MARKER = ".sha256"
MAX_UNPROVEN_STARTS = 3  # starts after which unproven models are rolled back


class ActiveRelease(msgspec.Struct, frozen=True):
    """The release in use."""

    release: int  # number
    folder: str  # name of its folder
    digest: str  # SHA-256 of its `release.json`
    applied_at: str  # activation time, UTC, RFC 3339
    previous: str = ""  # folder of the rollback copy
    previous_release: int = 0  # number of the rollback copy
    proven: bool = False  # whether it has run long enough, or has no new models that could crash the door
    starts: int = 0  # number of starts with it while it was not proven
    failed: str = ""  # digest of a release that was rolled back and is rejected from now on
    failure: str = ""  # why it was rolled back


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """Release status of a door."""

    release: int | None  # number of the release in use; None before the first
    applied_at: str | None  # activation time, UTC, RFC 3339
    ok: bool  # whether the release that was offered last is in use
    reason: Reason  # state of the release in use, or why the offered release was rejected
    detail: str = ""  # more in words


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A new status; an event follows if a release was applied, or refused for a new reason."""

    status: ReleaseStatus
    applied: bool = False
    refused: bool = False


def status_of(current: ActiveRelease | None) -> ReleaseStatus:
    """The status before a release was offered."""
    if current is None:
        return ReleaseStatus(None, None, False, Reason.NO_RELEASE)
    runs = current.release, current.applied_at
    if current.failure:
        return ReleaseStatus(*runs, False, Reason.RELEASE_ROLLED_BACK, current.failure)
    return ReleaseStatus(*runs, True, Reason.RELEASE_RUNNING, f"release {current.release}")


class ReleaseStore:
    """The folder `<state>/release`; `key` encrypts its galleries. Methods that write raise OSError."""

    def __init__(self, state: Path, key: GalleryKey | None = None) -> None:
        self._key = key
        self.folder = state / "release"
        self.metadata = self.folder / "metadata"
        self._releases = self.folder / "releases"

    def root(self) -> bytes:
        """The trusted root metadata.

        Raises:
            ReleaseError: `edge release trust-root` has not been run.
        """
        try:
            return (self.folder / "root.json").read_bytes()
        except OSError as error:
            raise ReleaseError(
                f"{self.folder}: no trusted root ({error.strerror}); "
                "run  edge release trust-root ROOT.json --config door.toml"
            ) from error

    def trust(self, root: bytes) -> None:
        """Trust root metadata from now on; metadata verified under another root is deleted."""
        self._make(self.metadata)
        known = self.folder / "root.json"
        if not known.exists() or known.read_bytes() != root:
            secure_delete(self.metadata)
            atomic_write(known, root, private=True)

    def current(self) -> ActiveRelease | None:
        """The release in use; None before the first."""
        try:
            return msgspec.json.decode((self.folder / "current.json").read_bytes(), type=ActiveRelease)
        except (OSError, *DECODE_ERRORS):
            return None

    def release_dir(self, folder: str) -> Path:
        """Folder of a release."""
        return self._releases / folder

    def activate(self, current: ActiveRelease) -> None:
        """Store durably which release is in use."""
        atomic_write(self.folder / "current.json", msgspec.json.encode(current), private=True)

    def write(self, number: int, content: bytes, files: Mapping[str, bytes]) -> str:
        """Store a complete release durably without activating it; returns the name of its folder.

        Args:
            content: its `release.json`.
            files: content by file name.
        """
        name = f"{number}-{sha256_of(content)[:12]}"
        path, draft = self.release_dir(name), self._releases / f".draft-{name}"
        secure_delete(path)
        secure_delete(draft)
        self._make(draft)
        for file, data in files.items():
            (draft / file).parent.mkdir(exist_ok=True)
            self._put(draft / file, data)
        atomic_write(draft / RELEASE_FILE, content, private=True)
        os.rename(draft, path)
        fsync_dir(self._releases)
        return name

    def release(self, folder: str) -> Release:
        """The list of a stored release.

        Raises:
            ReleaseError: the release is damaged.
        """
        try:
            return msgspec.json.decode((self.release_dir(folder) / RELEASE_FILE).read_bytes(), type=Release)
        except (OSError, *DECODE_ERRORS) as error:
            raise ReleaseError(f"{self.release_dir(folder)}: damaged ({error})") from error

    def made_at(self, folder: str) -> datetime:
        """Signed creation time of a stored release; 1970 if it cannot be read."""
        try:
            return datetime.fromisoformat(self.release(folder).made_at).astimezone(UTC)
        except (ReleaseError, ValueError):
            return datetime.fromtimestamp(0, UTC)

    def replace_with_filtered(self, folder: str, name: str, content: bytes | None) -> None:
        """Replace GALLERY or POLICY of a rollback copy and overwrite the old content; None: remove the file."""
        path = self.release_dir(folder) / name
        marker = b"" if content is None else sha256_of(content).encode()
        atomic_write(self._marker(folder, name), marker, private=True)
        secure_delete(path)
        if content is not None:
            self._put(path, content)

    def read(self, folder: str, name: str) -> bytes:
        """Read a file of a release; a gallery is decrypted.

        Raises:
            OSError: the file cannot be read.
            ThresholdError: the gallery cannot be decrypted.
        """
        path = self.release_dir(folder) / name
        content = path.read_bytes()
        return decrypt_if_needed(content, self._key, path) if name == GALLERY else content

    def policy(self, folder: str) -> bytes | None:
        """Access rules of a release; None: it has none, and those of door.toml apply.

        Raises:
            OSError: the rules cannot be read.
        """
        try:
            return self.read(folder, POLICY)
        except FileNotFoundError:
            return None

    def galleries(self) -> Iterator[Path]:
        """Galleries of all releases on this disk."""
        yield from sorted(self._releases.glob(f"*/{GALLERY}"))

    def _put(self, path: Path, content: bytes) -> None:
        if self._key is not None and path.name == GALLERY:
            content = encrypt(content, self._key, path)
        atomic_write(path, content, private=True)

    def check(self, folder: str) -> None:
        """Compare the files of a release with its list, or with the markers of `replace_with_filtered`.

        Raises:
            ReleaseError: a file is missing or damaged.
        """
        listed = {entry.name: entry.sha256 for entry in self.release(folder).files}
        filtered = {name: marker for name in (GALLERY, POLICY) if (marker := self._marker(folder, name)).exists()}
        for name in listed | filtered:
            try:
                expected = filtered[name].read_text() if name in filtered else listed[name]
                if expected and sha256_of(self.read(folder, name)) != expected:
                    raise ReleaseError(f"{self.release_dir(folder)}: {name} is damaged")
            except OSError as error:
                raise ReleaseError(f"{self.release_dir(folder)}: {name} cannot be read ({error.strerror})") from error

    def _marker(self, folder: str, name: str) -> Path:
        return (self.release_dir(folder) / name).with_suffix(_FILTERED_MARKER)

    def remove_stale(self) -> None:
        """Delete all files that `current.json` does not name."""
        self._make(self._releases)
        current = self.current()
        named = {current.folder, current.previous} if current else set()
        for path in self._releases.iterdir():
            if path.name not in named:
                secure_delete(path)
        for folder in (self.folder, self.metadata, *(self._releases / name for name in named if name)):
            for left in folder.glob(".*"):
                secure_delete(left)

    def _make(self, folder: Path) -> None:
        """Create a private folder and its parents."""
        for each in (self.folder, self._releases, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
