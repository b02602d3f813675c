"""The signed repository on the desktop: releases, keys, and the files for the doors.

    REPO/root.json          the newest root metadata, for `edge release trust-root`
    REPO/keys/              encrypted private keys; move root-*.pem to a safe place
    REPO/metadata/          signed metadata, <version>.<role>.json
    REPO/releases/<n>.json  list of the files of each release
    REPO/pieces/            pieces of all files, by sha256

Version numbers only increase: a rollback is a new release with the content of an older one.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from edge.core.errors import DECODE_ERRORS, ReleaseError
from edge.core.files import atomic_write, make_private_folder
from edge.recognition import gallery_chunks
from edge.updates.release_format import (
    RELEASE_FILE,
    TIMESTAMP,
    Release,
    ReleaseFile,
    encode_release,
    piece_name,
    sha256_of,
)
from threshold_tools.release.chunking import cut_release

ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
RELEASE_FIELD = "x-threshold-release"  # number of the release, in the signed timestamp
VALID_DAYS = {Root.type: 1825, Targets.type: 365, Snapshot.type: 90, Timestamp.type: 90}


class Repository:
    """One repository; changes need its lock.

    Args:
        path: folder of the repository.
        signers: available keys, by key id.
        now: start of the validity.

    Raises:
        ReleaseError: the folder is not a repository.
    """

    def __init__(self, path: Path, signers: Mapping[str, Signer], now: datetime | None = None) -> None:
        self.path = path
        self._signers = dict(signers)
        self._now = (now or datetime.now(UTC)).replace(microsecond=0)
        if not (path / "root.json").is_file():
            raise ReleaseError(f"{path}: no repository; make one with  threshold sync init {path}")
        self.root: Metadata[Root] = Metadata[Root].from_bytes((path / "root.json").read_bytes())

    @staticmethod
    def create(path: Path, keys: Mapping[str, Sequence[Signer]], threshold: int, now: datetime | None = None) -> None:
        """Make an empty repository.

        Args:
            path: an empty folder, or one to be made; it may already contain keys.
            keys: signers by role.
            threshold: number of signatures that root and targets need; the other roles need one.
            now: start of the validity.

        Raises:
            ReleaseError: the folder is already a repository.
        """
        if (path / "root.json").exists():
            raise ReleaseError(f"{path}: is already a repository; nothing was changed")
        when = (now or datetime.now(UTC)).replace(microsecond=0)
        root = Root(expires=when + timedelta(days=VALID_DAYS[Root.type]), consistent_snapshot=True)
        for role, signers in keys.items():
            for signer in signers:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = threshold if role in (Root.type, Targets.type) else 1
        metadata = Metadata(root)
        for signer in keys[Root.type]:
            metadata.sign(signer, append=True)
        for folder in ("metadata", "releases", "pieces"):
            make_private_folder(path / folder)
        atomic_write(path / "metadata" / "1.root.json", metadata.to_bytes())
        atomic_write(path / "root.json", metadata.to_bytes())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Context in which no other command changes the repository.

        Raises:
            ReleaseError: another command is changing it.
        """
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ReleaseError(
                    f"{self.path}: another command is changing it; try again when it has ended"
                ) from error
            yield

    def newest(self) -> Release | None:
        """The newest release, or None before the first."""
        numbers = self.numbers()
        return self.release(numbers[-1]) if numbers else None

    def numbers(self) -> list[int]:
        """The numbers of all stored releases, ascending."""
        return sorted(int(path.stem) for path in (self.path / "releases").glob("*.json"))

    def release(self, number: int) -> Release:
        """The release of this number.

        Raises:
            ReleaseError: it does not exist, or is damaged.
        """
        try:
            return msgspec.json.decode((self.path / "releases" / f"{number}.json").read_bytes(), type=Release)
        except OSError as error:
            have = ", ".join(map(str, self.numbers())) or "none"
            raise ReleaseError(f"{self.path}: no release {number}; there are: {have}") from error
        except DECODE_ERRORS as error:
            raise ReleaseError(f"{self.path}: release {number} is damaged ({error})") from error

    def content(self, entry: ReleaseFile) -> bytes:
        """Content of a released file."""
        pieces = [self._read_piece(piece.sha256) for piece in entry.pieces]
        return gallery_chunks.assemble(pieces, entry.length) if entry.rows else b"".join(pieces)

    def add(self, files: Mapping[str, bytes], embedder_sha256: str, people: int) -> Release:
        """Cut files into pieces and list them as the next release; returns the newest one if nothing has changed.

        Raises:
            ReleaseError: the gallery is malformed, or too large to be listed; nothing is written.
        """
        newest = self.newest()
        draft = Release(
            v=1,
            release=newest.release + 1 if newest else 1,
            made_at=self._now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            embedder_sha256=embedder_sha256,
            people=people,
            files=(),
        )
        release, pieces = cut_release(draft, files, newest)
        if newest is not None and newest.files == release.files and newest.embedder_sha256 == embedder_sha256:
            return newest
        content = encode_release(release)
        for piece in pieces:
            path = self.path / "pieces" / sha256_of(piece)
            if not path.exists():
                atomic_write(path, piece, private=True)
        atomic_write(self.path / "releases" / f"{release.release}.json", content)
        return release

    def sign(self, release: Release, valid_days: int | None = None) -> None:
        """Sign a release as the newest one: a new version of targets, snapshot and timestamp.

        Raises:
            ReleaseError: keys are missing.
        """
        content = (self.path / "releases" / f"{release.release}.json").read_bytes()
        targets = Targets(self._version(Targets.type) + 1, expires=self._expires(Targets.type, valid_days))
        targets.targets[RELEASE_FILE] = TargetFile.from_data(RELEASE_FILE, content, ["sha256"])
        signed_targets = self._signed(Targets.type, targets)
        snapshot = Snapshot(self._version(Snapshot.type) + 1, expires=self._expires(Snapshot.type, valid_days))
        snapshot.meta["targets.json"] = MetaFile.from_data(targets.version, signed_targets, ["sha256"])
        signed_snapshot = self._signed(Snapshot.type, snapshot)
        timestamp = Timestamp(self._version(Timestamp.type) + 1, expires=self._expires(Timestamp.type, valid_days))
        timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, signed_snapshot, ["sha256"])
        timestamp.unrecognized_fields[RELEASE_FIELD] = release.release
        signed_timestamp = self._signed(Timestamp.type, timestamp)
        for role, version, data in (
            (Targets.type, targets.version, signed_targets),
            (Snapshot.type, snapshot.version, signed_snapshot),
            (Timestamp.type, timestamp.version, signed_timestamp),
        ):
            atomic_write(self.path / "metadata" / f"{version}.{role}.json", data)

    def files(self) -> list[tuple[str, bytes]]:
        """Files for the doors in the order of publication: `timestamp.json` last.

        Raises:
            ReleaseError: there is no release yet, or a piece is damaged.
        """
        release = self.newest()
        if release is None or not self._version(Timestamp.type):
            raise ReleaseError(f"{self.path}: no release yet; run  threshold sync publish")
        targets = Metadata[Targets].from_bytes(self._metadata(Targets.type))
        sha256 = targets.signed.targets[RELEASE_FILE].hashes["sha256"]
        content = (self.path / "releases" / f"{release.release}.json").read_bytes()
        if sha256_of(content) != sha256:
            raise ReleaseError(f"{self.path}: release {release.release} is not signed yet; publish again")
        pieces = {piece.sha256: None for entry in release.files for piece in entry.pieces}
        files = [(piece_name(each), self._read_piece(each)) for each in pieces]
        files.append((f"{sha256}.{RELEASE_FILE}", content))
        for version in range(1, self.root.signed.version + 1):
            name = f"{version}.root.json"
            files.append((name, (self.path / "metadata" / name).read_bytes()))
        for role in (Targets.type, Snapshot.type):
            files.append((f"{self._version(role)}.{role}.json", self._metadata(role)))
        files.append((TIMESTAMP, self._metadata(Timestamp.type)))
        return files

    def replace_key(self, role: str, old: str, new: Signer) -> None:
        """Replace a key of a role, and sign the new root with the old and the new root keys.

        Args:
            role: role of the key.
            old: id of the key to remove.
            new: key to add.

        Raises:
            ReleaseError: too few root keys are available to sign.
        """
        root = self.root.signed
        before = [self._signers[keyid] for keyid in root.roles[Root.type].keyids if keyid in self._signers]
        threshold = root.roles[Root.type].threshold
        root.revoke_key(old, role)
        root.add_key(new.public_key, role)
        self._signers[new.public_key.keyid] = new
        after = [self._signers[keyid] for keyid in root.roles[Root.type].keyids if keyid in self._signers]
        if len(before) < threshold or len(after) < root.roles[Root.type].threshold:
            raise ReleaseError(
                f"root needs {threshold} signatures, and {len(before)} of its keys are available; nothing was changed: "
                "add the folders with root keys by --keys"
            )
        root.version += 1
        root.expires = self._expires(Root.type, None)
        self.root.signatures.clear()
        for signer in {signer.public_key.keyid: signer for signer in (*before, *after)}.values():
            self.root.sign(signer, append=True)
        atomic_write(self.path / "metadata" / f"{root.version}.root.json", self.root.to_bytes())
        atomic_write(self.path / "root.json", self.root.to_bytes())

    def _read_piece(self, sha256: str) -> bytes:
        try:
            content = (self.path / "pieces" / sha256).read_bytes()
        except OSError as error:
            raise ReleaseError(f"{self.path}: piece {sha256[:12]} cannot be read ({error.strerror})") from error
        if sha256_of(content) != sha256:
            raise ReleaseError(f"{self.path}: piece {sha256[:12]} is damaged; restore a copy")
        return content

    def _signed(self, role: str, signed: Any) -> bytes:
        metadata: Metadata[Any] = Metadata(signed)
        needed = self.root.signed.roles[role]
        here = [self._signers[keyid] for keyid in needed.keyids if keyid in self._signers]
        if len(here) < needed.threshold:
            raise ReleaseError(
                f"{role} needs {needed.threshold} of its {len(needed.keyids)} keys to sign, {len(here)} are available: "
                "add the folders with the others by --keys"
            )
        for signer in here[: needed.threshold]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _version(self, role: str) -> int:
        names = (self.path / "metadata").glob(f"*.{role}.json")
        return max((int(found[1]) for path in names if (found := re.match(r"(\d+)\.", path.name))), default=0)

    def _metadata(self, role: str) -> bytes:
        return (self.path / "metadata" / f"{self._version(role)}.{role}.json").read_bytes()

    def _expires(self, role: str, valid_days: int | None) -> datetime:
        return self._now + timedelta(days=valid_days if valid_days is not None else VALID_DAYS[role])
