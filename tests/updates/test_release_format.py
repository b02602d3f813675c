"""The release list: names, limits and parsing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.release_signer import (
    EMBEDDER,
    ReleaseSigner,
)

from edge.core.errors import ReleaseError
from edge.core.records import Person
from edge.recognition import gallery_chunks
from edge.recognition.gallery_file import save_gallery
from edge.updates.release_format import GALLERY, decode_release, is_repo_name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../timestamp.json", "a/../b", "timestamp.json\n", "timestamp.json\0", "\x1b[2J", "x" * 300),
        *("0.root.json", "1.root.json/", "TIMESTAMP.JSON", "1.timestamp.json", "é.piece", "٣.root.json"),
        "g" * 64 + ".piece",
    ],
)
def test_hostile_names_are_rejected(name: str) -> None:
    assert not is_repo_name(name)


@pytest.mark.parametrize("name", ["../x", "models/../../x", "models/.x", "/etc/passwd", "gallery.safetensors\n", "x"])
def test_signed_list_cannot_name_a_foreign_path(name: str) -> None:
    """Keys can be stolen."""
    entry = {"name": name, "sha256": "0" * 64, "length": 0, "pieces": []}
    content = {"v": 1, "release": 1, "made_at": "", "embedder_sha256": "0" * 64, "people": 0, "files": [entry]}
    with pytest.raises(ReleaseError):
        decode_release(msgspec.json.encode(content), 1000)


def test_limits_apply_to_a_signed_list(signer: ReleaseSigner) -> None:
    (content,) = [content for name, content in signer.files().items() if name.endswith(".release.json")]
    decode_release(content, 100_000)
    with pytest.raises(ReleaseError, match="max_mb"):
        decode_release(content, 10_000)


def many(count: int) -> bytes:
    """A gallery with short vectors, because only the number of people counts."""
    people = [Person(f"p{row:06d}", "") for row in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        save_gallery(path, people, np.ones((count, 1), np.float32), np.ones(count, np.float32), EMBEDDER)
        return path.read_bytes()


def test_growth_of_a_pilot_site(signer: ReleaseSigner) -> None:
    """A site of twenty people grows beyond 7,000: when the list is too long, the gallery is cut again."""
    repository, grown = signer.repository(), many(7_500)
    release = repository.add({GALLERY: grown}, EMBEDDER, 7_500)
    (entry,) = release.files
    assert entry.rows == gallery_chunks.rows_per_chunk(7_500) > gallery_chunks.rows_per_chunk(20)
    assert repository.content(entry) == grown


def test_release_of_too_many_people(signer: ReleaseSigner) -> None:
    """One error with the limit; the repository stays unchanged."""
    before = sorted(path.name for path in signer.path.rglob("*"))
    with pytest.raises(ReleaseError, match=r"^120000 people make \d+ pieces, too many .* about 105,000 people: divide"):
        signer.release_files({GALLERY: many(120_000)}, 120_000)
    assert sorted(path.name for path in signer.path.rglob("*")) == before
