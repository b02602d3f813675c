"""The releases on this door's disk, and which of them runs.

    <state>/release/root.json       the root metadata given by `edge release trust-root`
    <state>/release/metadata/       what TUF has verified, versions seen included
    <state>/release/current.json    which release runs; replaced in one step
    <state>/release/releases/<n>-<digest>/   one release, whole

A release is written beside the others, made durable, and only then named in `current.json`, so whatever happens in
between, a start finds a whole release, old or new. What `current.json` does not name is purged at the next start: first
overwritten, then unlinked. On flash memory the overwriting is a best effort, for the card itself moves blocks about.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from edge.core.decoding import DECODE_ERRORS
from edge.core.errors import ReleaseError
from edge.core.files import atomic_write
from edge.updates.release_format import GALLERY, POLICY, RELEASE_FILE, Release, sha256_of

_ZEROS = b"\0" * 65536
_NOTE = ".sha256"  # suffix of a note beside a file that differs from the release's list; empty: it was removed
MAX_UNPROVEN_STARTS = 3  # new models that never ran for long enough in so many starts are rolled back


class ActiveRelease(msgspec.Struct, frozen=True):
    """Which release runs.

    Attributes:
        release: its number.
        folder: its folder's name.
        digest: sha256 of its `release.json`.
        applied_at: when it began to run, UTC, RFC 3339.
        previous: the folder of the release to roll back to, or "".
        previous_release: its number, or 0.
        proven: whether it has run long enough, or brought no new models that could bring the door down.
        starts: how often the door has started with it while it was not proven.
        failed: digest of a release that was rolled back and must not come again, or "".
        failure: why.
    """

    release: int
    folder: str
    digest: str
    applied_at: str
    previous: str = ""
    previous_release: int = 0
    proven: bool = False
    starts: int = 0
    failed: str = ""
    failure: str = ""


class GalleryCodec(Protocol):
    """How galleries lie on the disk; either may raise ThresholdError."""

    def encode(self, content: bytes, where: Path) -> bytes: ...

    def decode(self, content: bytes, where: Path) -> bytes: ...


class PlainCodec:
    """They lie there as they are."""

    def encode(self, content: bytes, _where: Path) -> bytes:
        return content

    decode = encode


class ReleaseStore:
    """The folder `<state>/release`.

    Args:
        state: the door's folder.
        cloak: of the galleries.

    Raises:
        OSError: it cannot be made or written.
    """

    def __init__(self, state: Path, cloak: GalleryCodec | None = None) -> None:
        self._cloak = cloak or PlainCodec()
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
        """Take root metadata as trusted; what was verified under another one is forgotten."""
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
        """Where a release lies."""
        return self._releases / folder

    def activate(self, current: ActiveRelease) -> None:
        """Say durably which release runs."""
        atomic_write(self.folder / "current.json", msgspec.json.encode(current), private=True)

    def write(self, number: int, content: bytes, files: Mapping[str, bytes]) -> str:
        """Put a release on the disk, whole and durable, without running it; returns its folder's name.

        Args:
            number: of the release.
            content: its `release.json`.
            files: its files by name.
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
        _sync(self._releases)
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
        """Replace a file of a release that is kept for a rollback, or remove it; the old content is overwritten.

        Args:
            folder: of the release.
            name: GALLERY or POLICY; the release need not have listed it.
            content: new content; None: remove the file.
        """
        path = self.release_dir(folder) / name
        note = b"" if content is None else sha256_of(content).encode()
        atomic_write(self._note(folder, name), note, private=True)
        secure_delete(path)
        if content is not None:
            self._put(path, content)

    def read(self, folder: str, name: str) -> bytes:
        """A file of a release as it arrived.

        Raises:
            OSError: it cannot be read.
            ThresholdError: it is a gallery under a cloak that does not lift.
        """
        path = self.release_dir(folder) / name
        content = path.read_bytes()
        return self._cloak.decode(content, path) if name == GALLERY else content

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
        atomic_write(path, self._cloak.encode(content, path) if path.name == GALLERY else content, private=True)

    def check(self, folder: str) -> None:
        """Compare the files of a release with its list, or with what `replace_with_filtered` has noted.

        Raises:
            ReleaseError: one is missing or damaged.
        """
        listed = {entry.name: entry.sha256 for entry in self.release(folder).files}
        for name in listed | {name: "" for name in (GALLERY, POLICY) if self._note(folder, name).exists()}:
            self._check_file(folder, name, listed.get(name, ""))

    def _note(self, folder: str, name: str) -> Path:
        return (self.release_dir(folder) / name).with_suffix(_NOTE)

    def _check_file(self, folder: str, name: str, expected: str) -> None:
        try:
            if name in (GALLERY, POLICY) and self._note(folder, name).exists():
                expected = self._note(folder, name).read_text()
            if expected and sha256_of(self.read(folder, name)) != expected:
                raise ReleaseError(f"{self.release_dir(folder)}: {name} is damaged")
        except OSError as error:
            raise ReleaseError(f"{self.release_dir(folder)}: {name} cannot be read ({error.strerror})") from error

    def remove_stale(self) -> None:
        """Purge everything that `current.json` does not name."""
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
        """A folder for us alone, and those above it."""
        for each in (self.folder, self._releases, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)


def secure_delete(path: Path) -> None:
    """Overwrite a file, or all files of a folder, and remove it. What is not there is gone already."""
    if path.is_dir() and not path.is_symlink():
        for child in list(path.iterdir()):
            secure_delete(child)
        path.rmdir()
        _sync(path.parent)
        return
    with contextlib.suppress(FileNotFoundError):
        if path.is_file() and not path.is_symlink():
            _overwrite(path)
        path.unlink()
        _sync(path.parent)


def secure_delete_all(paths: Iterable[Path]) -> None:
    """Purge each."""
    for path in paths:
        secure_delete(path)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
