"""Galleries as chunks: split, assembled, and reduced for the rollback copy."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from support.release_signer import (
    gallery_bytes,
    vector,
    with_vector,
)

from edge.recognition import gallery_chunks
from edge.updates.release_format import CHUNK_BYTES


def test_rollback_copy_after_a_leaver(tmp_path: Path) -> None:
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, gallery_bytes([1, 3, 4]))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept


def test_rollback_copy_of_another_embedder(tmp_path: Path) -> None:
    """Vectors cannot be compared, so people are kept by id, and leavers are removed."""
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, with_vector([1, 3, 4], of=3, seed=99, embedder="f" * 64))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept
    assert vector(3).tobytes() in kept


def test_one_new_person_costs_one_piece() -> None:
    """At 10,000 people the download, with list and metadata, is far below 256 KiB."""
    before, after = (
        gallery_chunks.split(gallery_bytes(people, threshold_sq), gallery_chunks.rows_per_chunk(10_000), CHUNK_BYTES)
        for people, threshold_sq in ((range(10_000), 1.0), ([*range(5000), 99_999, *range(5000, 10_000)], 0.99))
    )
    known = set(before)
    cost = sum(len(piece) for piece in after if piece not in known) + 75 * len(after)
    assert cost < 150 * 1024
    assert max(map(len, after)) < CHUNK_BYTES + 1024


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_split_gallery_is_assembled_unchanged(count: int) -> None:
    content = gallery_bytes(range(count))
    for rows in (1, 4, 128):
        assert gallery_chunks.assemble(gallery_chunks.split(content, rows, CHUNK_BYTES), len(content)) == content


def test_pieces_that_do_not_fit_are_refused() -> None:
    content = gallery_bytes(range(30))
    pieces = gallery_chunks.split(content, 4, CHUNK_BYTES)
    chance = random.Random(3)
    for _ in range(300):
        spoiled = list(pieces)
        at = chance.randrange(len(spoiled))
        piece = bytearray(spoiled[at])
        piece[chance.randrange(min(len(piece), 40))] ^= 1 << chance.randrange(8)
        spoiled[at] = bytes(piece)
        with contextlib.suppress(ValueError):
            assert len(gallery_chunks.assemble(spoiled, len(content))) == len(content)
    for spoiled in (pieces[:-1], pieces[1:], [*pieces, pieces[-1]], [pieces[0]], []):
        with pytest.raises(ValueError, match=r"header|complete|rows|short|kind"):
            gallery_chunks.assemble(spoiled, len(content))


def test_invalid_gallery_is_not_split() -> None:
    for content in (b"", b"\xff" * 100, gallery_bytes(range(3))[:50]):
        with pytest.raises(ValueError, match="header"):
            gallery_chunks.split(content, 4, CHUNK_BYTES)
