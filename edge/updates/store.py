"""The releases on this door's disk, and which of them runs.

    <state>/release/root.json       the root metadata given by `edge release trust-root`
    <state>/release/metadata/       what TUF has verified, versions seen included
    <state>/release/current.json    which release runs; replaced in one step
    <state>/release/releases/<n>-<digest>/   one release, whole

A release is written beside the others, made durable, and only then named in `current.json`, so whatever happens in
between, a start finds a whole release, old or new. What `current.json` does not name is securely deleted at the next
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

# Suffix of the marker beside a file that was filtered; it holds the new sha256, or nothing if the file was removed.
_FILTERED_MARKER = ".sha256"
MAX_UNPROVEN_STARTS = 3  # new models that never ran for long enough in so many starts are rolled back


class ActiveRelease(msgspec.Struct, frozen=True):
    """Which release runs."""

    release: int  # its number
    folder: str  # its folder's name
    digest: str  # sha256 of its `release.json`
    applied_at: str  # when it began to run, UTC, RFC 3339
    previous: str = ""  # the folder of the release to roll back to
    previous_release: int = 0  # its number
    proven: bool = False  # whether it has run long enough, or brought no new models that could bring the door down
    starts: int = 0  # how often the door has started with it while it was not proven
    failed: str = ""  # digest of a release that was rolled back and must not come again
    failure: str = ""  # why


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """Release status of a door."""

    release: int | None  # number of the release that runs, or None before the first
    applied_at: str | None  # when it began to run, UTC, RFC 3339
    ok: bool  # whether the release that was offered last runs
    reason: Reason  # what runs, or why the release that was offered last was rejected
    detail: str = ""  # the same in words


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A new status; worth an event if a release was applied, or refused for a reason not reported yet."""

    status: ReleaseStatus
    applied: bool = False
    refused: bool = False


def status_of(current: ActiveRelease | None) -> ReleaseStatus:
    """The status before anything was offered."""
    if current is None:
        return ReleaseStatus(None, None, False, Reason.NO_RELEASE)
    runs = current.release, current.applied_at
    if current.failure:
        return ReleaseStatus(*runs, False, Reason.RELEASE_ROLLED_BACK, current.failure)
    return ReleaseStatus(*runs, True, Reason.RELEASE_RUNNING, f"release {current.release}")


class ReleaseStore:
    """The folder `<state>/release`; `key` encrypts its galleries. Writing raises OSError."""

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
        """Which release runs, or None before the first."""
        try:
            return msgspec.json.decode((self.folder / "current.json").read_bytes(), type=ActiveRelease)
        except (OSError, *DECODE_ERRORS):
            return None

    def release_dir(self, folder: str) -> Path:
        """Folder of a release."""
        return self._releases / folder

    def activate(self, current: ActiveRelease) -> None:
        """Record durably which release runs."""
        atomic_write(self.folder / "current.json", msgspec.json.encode(current), private=True)

    def write(self, number: int, content: bytes, files: Mapping[str, bytes]) -> str:
        """Store a release, whole and durable, without running it; `content` is its `release.json`.

        Returns the name of its folder.
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
        """What a stored release consists of.

        Raises:
            ReleaseError: it is damaged.
        """
        try:
            return msgspec.json.decode((self.release_dir(folder) / RELEASE_FILE).read_bytes(), type=Release)
        except (OSError, *DECODE_ERRORS) as error:
            raise ReleaseError(f"{self.release_dir(folder)}: damaged ({error})") from error

    def made_at(self, folder: str) -> datetime:
        """When a stored release was made, as its signers said; the beginning of time if it cannot be read."""
        try:
            return datetime.fromisoformat(self.release(folder).made_at).astimezone(UTC)
        except (ReleaseError, ValueError):
            return datetime.fromtimestamp(0, UTC)

    def replace_with_filtered(self, folder: str, name: str, content: bytes | None) -> None:
        """Replace GALLERY or POLICY, listed or not, of a release kept for a rollback; None removes the file.

        The old content is overwritten.
        """
        path = self.release_dir(folder) / name
        marker = b"" if content is None else sha256_of(content).encode()
        atomic_write(self._marker(folder, name), marker, private=True)
        secure_delete(path)
        if content is not None:
            self._put(path, content)

    def read(self, folder: str, name: str) -> bytes:
        """A file of a release as it arrived.

        Raises:
            OSError: it cannot be read.
            ThresholdError: it is a gallery that cannot be decrypted.
        """
        path = self.release_dir(folder) / name
        content = path.read_bytes()
        return decrypt_if_needed(content, self._key, path) if name == GALLERY else content

    def policy(self, folder: str) -> bytes | None:
        """The access rules of a release; None: it has none, and those of door.toml hold.

        Raises:
            OSError: they cannot be read.
        """
        try:
            return self.read(folder, POLICY)
        except FileNotFoundError:
            return None

    def galleries(self) -> Iterator[Path]:
        """The galleries of every release on this disk."""
        yield from sorted(self._releases.glob(f"*/{GALLERY}"))

    def _put(self, path: Path, content: bytes) -> None:
        if self._key is not None and path.name == GALLERY:
            content = encrypt(content, self._key, path)
        atomic_write(path, content, private=True)

    def check(self, folder: str) -> None:
        """Compare the files of a release with its list, or with what `replace_with_filtered` has recorded.

        Raises:
            ReleaseError: one is missing or damaged.
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
        """Delete everything that `current.json` does not name."""
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
