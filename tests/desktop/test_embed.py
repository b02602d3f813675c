"""Photos to vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.rendered_portraits import EMBEDDER, Photo, put, two_people
from threshold_tools.embed import main

from edge.core.errors import InputError


@pytest.fixture
def people(tmp_path: Path, photo: Photo) -> Path:
    return two_people(tmp_path / "people", photo)


def test_every_photo_has_a_row_and_a_found_flag(people: Path, tmp_path: Path) -> None:
    (people / "biden" / "0-damaged.jpg").write_bytes(b"")
    put(people / "wall.png", np.full((100, 100, 3), 90, np.uint8))
    main([str(people), "--out", str(tmp_path / "x.npz")])
    with np.load(tmp_path / "x.npz") as stored:
        assert list(stored["path"]) == [
            "biden/0-damaged.jpg",
            "biden/1.png",
            "obama/1.png",
            "obama/2.png",
            "wall.png",
        ]
        assert list(stored["found"]) == [False, True, True, True, False]
        embedding = stored["embedding"]
        assert (embedding.dtype, embedding.shape) == (np.float32, (5, 192))
        assert np.linalg.norm(embedding, axis=1) == pytest.approx([0, 1, 1, 1, 0], abs=1e-5)
        assert str(stored["embedder_sha256"]) == EMBEDDER
    assert np.sum((embedding[2] - embedding[3]) ** 2) < np.sum((embedding[1] - embedding[2]) ** 2)


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in it"):
        main([str(tmp_path), "--out", str(tmp_path / "x.npz")])


def test_mirror_image_is_used_by_default(tmp_path: Path, photo: Photo) -> None:
    """A photo and its mirrored copy have one vector together, and two vectors when each is taken alone."""
    pixels = photo("biden")
    put(tmp_path / "people" / "1.png", pixels)
    put(tmp_path / "people" / "2.png", np.ascontiguousarray(pixels[:, ::-1]))

    def distance_sq(name: str, *options: str) -> float:
        main([str(tmp_path / "people"), "--out", str(tmp_path / name), *options])
        with np.load(tmp_path / name) as stored:
            first, second = stored["embedding"]
        return float(np.sum((first - second) ** 2))

    assert distance_sq("together.npz") < 0.7 * distance_sq("alone.npz", "--plain")
