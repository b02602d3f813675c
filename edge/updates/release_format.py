"""What a release is made of, and how its files are named: desktop and door both read it here.

The repository is a flat set of small files. TUF signs exactly one target, `release.json`; that names every other file
by sha256 and length, so a door that has verified it can verify them all, and a release is taken whole or not at all.
Were each piece a TUF target of its own, the signed `targets.json` would grow to the same size with longer lines and
nothing would be gained: TUF pins a target by length and hash, just as the list does, and versions, expiry, thresholds
and key rotation hold for the list as a whole.

A file travels as pieces named by their content, so a door asks only for those it does not hold already. A gallery is
cut between people (`edge.recognition.gallery_chunks`), anything else at fixed lengths.
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
FILE_BYTES = 128 * 1024  # no file of the repository, that is no message, is larger
CHUNK_BYTES = 96 * 1024  # a file is cut into pieces of at most so much
MAX_PIECES = 4096
MOST_PEOPLE = 105_000  # roughly; the list of their pieces then fills FILE_BYTES
GALLERY = "gallery.safetensors"
POLICY = "policy.toml"
MODELS = "models/"  # names of model files start with this
_REPO_NAME = re.compile(
    r"timestamp\.json|[1-9][0-9]{0,8}\.(?:root|snapshot|targets)\.json|[0-9a-f]{64}\.(?:release\.json|piece)", re.ASCII
)

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"^(?:gallery\.safetensors|policy\.toml|models/[a-z0-9][a-z0-9._-]{0,63})\Z")]


class ChunkRef(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part of a file as it travels: sha256 and length of the bytes on the wire."""

    sha256: Sha256
    length: Annotated[int, Meta(ge=1, le=FILE_BYTES)]


class ReleaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a release. `rows` is how a gallery is cut; 0 means cut at fixed lengths."""

    name: Name
    sha256: Sha256
    length: Annotated[int, Meta(ge=0)]
    pieces: tuple[ChunkRef, ...]
    rows: Annotated[int, Meta(ge=0, le=65536)] = 0


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `release.json`."""

    v: Literal[1]  # version of this format
    release: Annotated[int, Meta(ge=1)]  # the number, rising with every change of content
    made_at: str  # UTC, RFC 3339; for people
    embedder_sha256: Sha256  # the model that gallery (and models, if any) belong to
    people: Annotated[int, Meta(ge=0)]  # how many the gallery holds
    files: tuple[ReleaseFile, ...]  # always a gallery among them

    def file(self, name: str) -> ReleaseFile | None:
        """The file of that name."""
        return next((entry for entry in self.files if entry.name == name), None)


def is_repo_name(name: str) -> bool:
    """Whether a repository can hold a file of that name; any other name is junk."""
    return _REPO_NAME.fullmatch(name) is not None


def piece_name(sha256: str) -> str:
    """The repository's name for a piece."""
    return f"{sha256}.piece"


def sha256_of(content: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def split_bytes(content: bytes) -> list[bytes]:
    """Pieces of fixed length; together they are the content."""
    return [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]


def fits(release: Release) -> bool:
    """Whether the list of a release fits in one message."""
    return len(msgspec.json.encode(release)) <= FILE_BYTES


def encode_release(release: Release) -> bytes:
    """The bytes that are signed.

    Raises:
        ReleaseError: too much for one message.
    """
    if not fits(release):
        pieces = sum(len(entry.pieces) for entry in release.files)
        raise ReleaseError(
            f"{release.people} people make {pieces} pieces, too many to list in {FILE_BYTES} bytes; a release holds "
            f"about {MOST_PEOPLE:,} people: divide the site into several, each with its own repository"
        )
    return msgspec.json.encode(release)


def decode_release(content: bytes, max_bytes: int) -> Release:
    """Read a verified list, and hold it to the limits all the same: keys can be stolen. `max_bytes` is of all files.

    Raises:
        ReleaseError: it is malformed, or beyond a limit.
    """
    try:
        release = msgspec.json.decode(content, type=Release)
    except DECODE_ERRORS as error:
        raise ReleaseError(
            f"{RELEASE_FILE}: not a release that this program can read ({error}); update the door"
        ) from error
    names = [entry.name for entry in release.files]
    if len(set(names)) != len(names) or GALLERY not in names:
        raise ReleaseError(f"{RELEASE_FILE}: must list one gallery, and no file twice")
    pieces = [piece for entry in release.files for piece in entry.pieces]
    total = max(sum(entry.length for entry in release.files), sum(piece.length for piece in pieces))
    if len(pieces) > MAX_PIECES or total > max_bytes:
        raise ReleaseError(
            f"{RELEASE_FILE}: {len(pieces)} pieces, {total} bytes; "
            f"this door takes {MAX_PIECES} and {max_bytes} at most "
            "([release] max_mb)"
        )
    return release
