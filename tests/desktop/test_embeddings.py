"""LabelledEmbeddings: people by their folders, parts of them, and the file they are stored in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.rendered_portraits import EMBEDDER
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings, load_or_embed, save_embeddings

from edge.core.errors import InputError

PATHS = ["bob/1.jpg", "ann/1.jpg", "bob/2.jpg", "loose.jpg"]


def embeddings(found: tuple[bool, ...] = (True, True, False, True)) -> LabelledEmbeddings:
    vectors = np.eye(4, 8, dtype=np.float32)
    vectors[~np.array(found)] = 0
    return LabelledEmbeddings(vectors, np.array(found), PATHS, EMBEDDER)


def test_people_are_named_by_folder() -> None:
    """A photo in no folder is a person of its own."""
    photos = embeddings()
    assert photos.labels == ["bob", "ann", "bob", "loose.jpg"]
    assert photos.names == ["ann", "bob", "loose.jpg"]
    assert photos.people.tolist() == [1, 0, 1, 2]
    assert [rows.tolist() for rows in photos.rows_of] == [[1], [0, 2], [3]]


def test_selection_numbers_people_from_zero() -> None:
    some = embeddings().only(np.array([True, False, True, False]))
    assert (len(some), some.names, some.people.tolist(), some.found.tolist()) == (2, ["bob"], [0, 0], [True, False])


def test_stored_embeddings_are_loaded_again(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "x.npz", embeddings())
    loaded = load_embeddings(tmp_path / "x.npz")
    assert loaded.vectors.tolist() == embeddings().vectors.tolist()
    assert (loaded.found.tolist(), loaded.paths) == ([True, True, False, True], PATHS)
    assert loaded.embedder_sha256 == EMBEDDER


def test_file_without_faces_is_rejected(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "x.npz", embeddings((False,) * 4))
    with pytest.raises(InputError, match="no usable face in 4 photos"):
        load_or_embed(tmp_path / "x.npz")
