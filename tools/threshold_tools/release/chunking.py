"""Cuts the files of a release into pieces, so few that one message can list them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge.core.errors import ReleaseError
from edge.recognition import gallery_chunks
from edge.updates.release_format import (
    CHUNK_BYTES,
    GALLERY,
    ChunkRef,
    Release,
    ReleaseFile,
    fits,
    sha256_of,
    split_bytes,
)


def cut_release(draft: Release, files: Mapping[str, bytes], newest: Release | None) -> tuple[Release, list[bytes]]:
    """Cut files into pieces and list them.

    The gallery is cut as in the newest release, so that a small change needs few new pieces. If the list is then too
    long for one message, the gallery is cut again for its present size, and all its pieces are new.

    Args:
        draft: release without its files.
        files: content by name, including a gallery.
        newest: previous release; None: this is the first.

    Returns:
        The release with its files, and their pieces. Its list may still be too long: see `encode_release`.

    Raises:
        ReleaseError: the gallery is malformed.
    """
    before = newest.file(GALLERY) if newest else None
    rows, fresh_rows = (
        gallery_chunks.rows_per_chunk(draft.people, before.rows if before else 0),
        gallery_chunks.rows_per_chunk(draft.people),
    )
    release, pieces = _cut(draft, files, rows)
    if fits(release) or rows == fresh_rows:
        return release, pieces
    return _cut(draft, files, fresh_rows)


def _cut(draft: Release, files: Mapping[str, bytes], rows: int) -> tuple[Release, list[bytes]]:
    entries: list[ReleaseFile] = []
    all_pieces: list[bytes] = []
    for name in sorted(files):
        content = files[name]
        try:
            pieces = gallery_chunks.split(content, rows, CHUNK_BYTES) if name == GALLERY else split_bytes(content)
        except ValueError as error:
            raise ReleaseError(f"{GALLERY}: cannot be cut ({error})") from error
        listed = tuple(ChunkRef(sha256_of(piece), len(piece)) for piece in pieces)
        entries.append(ReleaseFile(name, sha256_of(content), len(content), listed, rows if name == GALLERY else 0))
        all_pieces += pieces
    return msgspec.structs.replace(draft, files=tuple(entries)), all_pieces
