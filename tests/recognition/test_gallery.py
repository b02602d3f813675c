"""Galleries: search, and rejection of invalid files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from support.face_images import DIMENSION, direction

from edge.core.errors import GalleryError
from edge.core.records import FloatArray, Person
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.recognition.gallery_file import load_gallery, save_gallery

EMBEDDER = "e" * 64


def crowd(count: int, seed: int = 0) -> FloatArray:
    """(count, D) random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def saved(path: Path, centroids: FloatArray, thresholds_sq: FloatArray | None = None) -> Path:
    people = [Person(f"p{row}", f"Persön {row}") for row in range(len(centroids))]
    limits = np.full(len(people), 1.0, np.float32) if thresholds_sq is None else thresholds_sq
    save_gallery(path, people, centroids, limits, EMBEDDER)
    return path


def test_nearest_against_a_linear_search(tmp_path: Path) -> None:
    centroids = crowd(200)
    limits = np.linspace(0.5, 1.5, 200, dtype=np.float32)
    gallery = load_gallery(saved(tmp_path / "g", centroids, limits), EMBEDDER)
    for probe in crowd(50, seed=1):
        distances = [float(np.sum((centroid - probe) ** 2)) for centroid in centroids]
        first, second = np.argsort(distances)[:2]
        match = gallery.nearest(probe)
        assert match.person == Person(f"p{first}", f"Persön {first}")
        assert match.distance_sq == pytest.approx(distances[first], abs=1e-5)
        assert match.runner_up_sq == pytest.approx(distances[second], abs=1e-5)
        assert match.threshold_sq == pytest.approx(limits[first])


def test_smallest_and_largest_distance(tmp_path: Path) -> None:
    gallery = load_gallery(saved(tmp_path / "g", direction(0)[None]), EMBEDDER)
    assert gallery.nearest(direction(0)).distance_sq == 0.0
    assert gallery.nearest(-direction(0)).distance_sq == 4.0
    assert gallery.nearest(direction(0)).runner_up_sq == 4.0  # no other person


def test_empty_gallery_has_no_match(tmp_path: Path) -> None:
    gallery = load_gallery(saved(tmp_path / "g", np.zeros((0, DIMENSION), np.float32)), EMBEDDER)
    match = gallery.nearest(direction(0))
    assert match.person is None
    assert match.distance_sq > match.threshold_sq


def test_gallery_of_another_embedder(tmp_path: Path) -> None:
    path = saved(tmp_path / "g", crowd(3))
    with pytest.raises(GalleryError, match=r"made by another embedder \(eeeeeeeeeeee, this door runs ffffffffffff\)"):
        load_gallery(path, "f" * 64)


def test_gallery_of_another_vector_length(tmp_path: Path) -> None:
    """It is rejected when it is loaded, even if it is empty."""
    for count in (0, 3):
        path = saved(tmp_path / "g", crowd(count))
        with pytest.raises(GalleryError, match=f"g: vectors of {DIMENSION} numbers, the embedder has 128; make it"):
            load_gallery(path, EMBEDDER, dimension=128)
        assert load_gallery(path, EMBEDDER, dimension=DIMENSION).info.people == count


def test_people_out_of_order(tmp_path: Path) -> None:
    """The ends of the texts must increase."""
    path = saved(tmp_path / "g", crowd(3))
    tensors = load_file(path)
    tensors["ends"][1] = 2
    with safe_open(path, framework="numpy") as opened:
        save_file(tensors, tmp_path / "spoiled", opened.metadata())
    with pytest.raises(GalleryError, match=r"damaged \(people out of order\)"):
        load_gallery(tmp_path / "spoiled", EMBEDDER)


def test_gallery_truncated_anywhere(tmp_path: Path) -> None:
    whole = saved(tmp_path / "g", crowd(20)).read_bytes()
    cut = tmp_path / "cut"
    for sixteenth in range(16):
        cut.write_bytes(whole[: len(whole) * sixteenth // 16])
        with pytest.raises(GalleryError, match="damaged or not a gallery"):
            load_gallery(cut, EMBEDDER)


@pytest.mark.parametrize("spoil", [np.nan, 3.0, 0.0])
def test_centroid_that_is_not_a_unit_vector(tmp_path: Path, spoil: float) -> None:
    centroids = crowd(3)
    centroids[1, 7] = spoil
    if spoil == 0.0:
        centroids[1] = 0.0
    with pytest.raises(GalleryError, match="not of unit length"):
        load_gallery(saved(tmp_path / "g", centroids), EMBEDDER)


@pytest.mark.parametrize("threshold", [-0.1, 4.1, np.nan])
def test_threshold_outside_its_range(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(GalleryError, match=r"outside 0\.\.4"):
        load_gallery(saved(tmp_path / "g", crowd(1), np.array([threshold], np.float32)), EMBEDDER)


def test_person_in_a_gallery_twice(tmp_path: Path) -> None:
    path = tmp_path / "g"
    save_gallery(path, [Person("a", "A"), Person("a", "B")], crowd(2), np.ones(2, np.float32), EMBEDDER)
    with pytest.raises(GalleryError, match="twice"):
        load_gallery(path, EMBEDDER)


def test_other_safetensors_file(tmp_path: Path) -> None:
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "g")
    with pytest.raises(GalleryError, match="a safetensors file, but not a gallery"):
        load_gallery(tmp_path / "g", EMBEDDER)


def test_missing_gallery(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"absent: no such gallery; make one with  threshold enroll"):
        load_gallery(tmp_path / "absent", EMBEDDER)


def test_reproducible_bytes(tmp_path: Path) -> None:
    files = [saved(tmp_path / name, crowd(5)).read_bytes() for name in "abcdefgh"]
    assert len(set(files)) == 1


def huge(path: Path, count: int) -> Path:
    """A gallery file of many people, written row by row because of its size (768 bytes per vector)."""
    texts = [f"p{row:07d}\tPerson {row:07d}".encode() for row in range(count)]
    vectors = np.tile(crowd(1000), (count // 1000, 1))
    people = [Person(*text.decode().split("\t")) for text in texts]
    save_gallery(path, people, vectors, np.full(count, 1.0, np.float32), EMBEDDER)
    return path


def opens_lazily(path: Path, count: int) -> None:
    """Load a gallery, search, and read the name of the match."""
    gallery = load_gallery(path, EMBEDDER)
    assert gallery.info.people == len(gallery.people) == count
    assert gallery.people[count - 1] == Person(f"p{count - 1:07d}", f"Person {count - 1:07d}")
    assert gallery.people[-1] == gallery.people[count - 1]
    assert gallery.nearest(crowd(1000)[123]).distance_sq < 1e-6


def test_large_gallery_is_memory_mapped(tmp_path: Path) -> None:
    path = huge(tmp_path / "g", 2000)
    small = load_gallery(path, EMBEDDER)
    opens_lazily(path, 2000)
    large = load_gallery(path, EMBEDDER, mmap_min_bytes=1000)
    assert list(large.people) == list(small.people)
    assert large.people[3:5] == small.people[3:5]
    with pytest.raises(IndexError):
        large.people[2000]
    with pytest.raises(GalleryError, match="made by another embedder"):
        load_gallery(path, "f" * 64, mmap_min_bytes=1000)
    whole = path.read_bytes()
    for sixteenth in range(16):
        path.write_bytes(whole[: len(whole) * sixteenth // 16])
        with pytest.raises(GalleryError, match="damaged or not a gallery"):
            load_gallery(path, EMBEDDER, mmap_min_bytes=1000)


def test_checks_of_a_large_gallery(tmp_path: Path) -> None:
    """In a memory-mapped gallery without index, only a sample of the rows is checked."""
    rows = np.tile(crowd(1000), (9, 1))
    rows[8191] *= 1.1
    with pytest.raises(GalleryError, match=r"g: damaged \(a centroid is not of unit length\)"):
        load_gallery(saved(tmp_path / "g", rows), EMBEDDER, mmap_min_bytes=1000)


def test_index_memory_of_a_large_gallery() -> None:
    people = [Person("p", "P")]
    few, many = crowd(8191), crowd(8192)
    made = [
        Gallery(people * len(rows), rows, np.ones(len(rows), np.float32), GalleryInfo("", "", len(rows)))
        for rows in (few, many)
    ]
    assert [gallery.index_bytes for gallery in made] == [0, 8192 * DIMENSION]


@pytest.mark.slow
def test_a_million_people(tmp_path: Path) -> None:
    opens_lazily(huge(tmp_path / "g", 1_000_000), 1_000_000)
