"""Format of a release and names of its files, for desktop and door.

The repository is a flat set of small files. TUF signs one target, `release.json`, which lists every other file by
SHA-256 and length. So a door that has verified it can verify all files, and applies a release completely or not at all.
Separate TUF targets for all pieces would make `targets.json` as large and add no protection: TUF also pins a target by
length and hash, and versions, expiry, thresholds and key rotation apply to the list as a whole.

Files are transferred in pieces named by their content, so a door fetches only the pieces that it lacks. A gallery is
cut between people (`edge.recognition.gallery_chunks`), other files at fixed lengths.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.core.errors import DECODE_ERRORS, ReleaseError

RELEASE_FILE = "release.json"  # the one TUF target
TIMESTAMP = "timestamp.json"
FILE_BYTES = 128 * 1024  # largest file of the repository, which is one message
CHUNK_BYTES = 96 * 1024  # largest piece of a file
MAX_PIECES = 4096
MOST_PEOPLE = 105_000  # approximate; the list of their pieces then fills FILE_BYTES
GALLERY = "gallery.safetensors"
POLICY = "policy.toml"
MODELS = "models/"  # names of model files start with this
_REPO_NAME = re.compile(
    r"timestamp\.json|[1-9][0-9]{0,8}\.(?:root|snapshot|targets)\.json|[0-9a-f]{64}\.(?:release\.json|piece)", re.ASCII
)

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"^(?:gallery\.safetensors|policy\.toml|models/[a-z0-9][a-z0-9._-]{0,63})\Z")]


class ChunkRef(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A piece of a file: SHA-256 and length of the transferred bytes."""

    sha256: Sha256
    length: Annotated[int, Meta(ge=1, le=FILE_BYTES)]


class ReleaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a release. `rows`: people per piece of a gallery; 0: cut at fixed lengths."""

    name: Name
    sha256: Sha256
    length: Annotated[int, Meta(ge=0)]
    pieces: tuple[ChunkRef, ...]
    rows: Annotated[int, Meta(ge=0, le=65536)] = 0


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `release.json`."""

    v: Literal[1]  # version of this format
    release: Annotated[int, Meta(ge=1)]  # number, rising with every change of content
    made_at: str  # UTC, RFC 3339; for people
    embedder_sha256: Sha256  # embedder of the gallery and of the models, if any
    people: Annotated[int, Meta(ge=0)]  # number of people in the gallery
    files: tuple[ReleaseFile, ...]  # contains a gallery

    def file(self, name: str) -> ReleaseFile | None:
        """The file with that name."""
        return next((entry for entry in self.files if entry.name == name), None)


def is_repo_name(name: str) -> bool:
    """Whether a repository may contain a file with that name."""
    return _REPO_NAME.fullmatch(name) is not None


def piece_name(sha256: str) -> str:
    """File name of a piece in the repository."""
    return f"{sha256}.piece"


def sha256_of(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def split_bytes(content: bytes) -> list[bytes]:
    """Cut content into pieces of fixed length."""
    return [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]


def fits(release: Release) -> bool:
    """Whether the list of a release fits in one message."""
    return len(msgspec.json.encode(release)) <= FILE_BYTES


def encode_release(release: Release) -> bytes:
    """Encode the list that is signed.

    Raises:
        ReleaseError: too long for one message.
    """
    if not fits(release):
        pieces = sum(len(entry.pieces) for entry in release.files)
        raise ReleaseError(
            f"{release.people} people make {pieces} pieces, too many to list in {FILE_BYTES} bytes; a release holds "
            f"about {MOST_PEOPLE:,} people: divide the site into several, each with its own repository"
        )
    return msgspec.json.encode(release)


def decode_release(content: bytes, max_bytes: int) -> Release:
    """Decode a verified list. The limits also apply to it, because keys can be stolen.

    Args:
        max_bytes: largest total size of all files.

    Raises:
        ReleaseError: the list is malformed, or exceeds a limit.
    """
    try:
        release = msgspec.json.decode(content, type=Release)
    except DECODE_ERRORS as error:
        raise ReleaseError(
            f"{RELEASE_FILE}: not a release that this version can read ({error}); update the door"
        ) from error
    names = [entry.name for entry in release.files]
    if len(set(names)) != len(names) or GALLERY not in names:
        raise ReleaseError(f"{RELEASE_FILE}: lists no gallery, or a file twice")
    pieces = [piece for entry in release.files for piece in entry.pieces]
    total = max(sum(entry.length for entry in release.files), sum(piece.length for piece in pieces))
    if len(pieces) > MAX_PIECES or total > max_bytes:
        raise ReleaseError(
            f"{RELEASE_FILE}: {len(pieces)} pieces, {total} bytes; "
            f"this door accepts at most {MAX_PIECES} and {max_bytes} "
            "([release] max_mb)"
        )
    return release
