"""Synthetic vectors of people for tests of metric learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.stats import Reals

from support.rendered_portraits import EMBEDDER

SIZE = 12  # dimensions


def crowd(counts: Sequence[int], noise: Reals, seed: int = 1) -> LabelledEmbeddings:
    """People with `counts` photos each; `noise` (SIZE,) is the deviation in each dimension."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(len(counts), SIZE)), counts, axis=0)
    vectors += rng.normal(size=vectors.shape) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paths = [f"p{who:03d}/{n:02d}.jpg" for who, count in enumerate(counts) for n in range(count)]
    return LabelledEmbeddings(vectors.astype(np.float32), np.ones(len(vectors), bool), paths, EMBEDDER)


def half_noise(people: int = 200) -> LabelledEmbeddings:
    """Half of the dimensions depend on the photo more than on the person: a head that mutes them helps."""
    return crowd([5] * people, np.repeat([0.2, 3.0], SIZE // 2))


def even_noise(people: int = 150) -> LabelledEmbeddings:
    """All dimensions have the same noise: no head can help."""
    return crowd([4] * people, np.full(SIZE, 0.5))


def one_side(people: int = 60) -> LabelledEmbeddings:
    """Vectors with a common direction and random labels: equal vectors are the optimum of hard triplets."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(people * 4, SIZE))
    vectors[:, 0] = np.abs(vectors[:, 0]) + 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paths = [f"p{row // 4:03d}/{row % 4}.jpg" for row in range(len(vectors))]
    return LabelledEmbeddings(vectors.astype(np.float32), np.ones(len(vectors), bool), paths, EMBEDDER)


def stored(path: Path, photos: LabelledEmbeddings) -> Path:
    """Write them like `threshold embed`."""
    np.savez(path, path=np.array(photos.paths), embedding=photos.vectors, found=photos.found, embedder_sha256=EMBEDDER)
    return path
