"""Faces to measure with: vectors and whose they are, from a folder of photos or from an .npz of tools/embed.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.core.config import QualityConfig
from edge.core.errors import ImageError, InputError
from edge.core.records import FloatArray
from threshold_tools.embeddings import read_vectors
from threshold_tools.photos import PhotoReader, photos_in


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Single photos, one row each, of one or more people.

    Attributes:
        vectors: (N, D) float32 unit rows: a single sample of a door, or a photo with its mirror image where
            tools/embed.py has stored it so; strangers' distances of the two differ by less than 0.005.
        labels: whose face each is: the folder of the photo, or the photo itself where it lies in none.
        paths: where each came from, for messages.
        unusable: photos that a door would not have accepted as a sample; they are no attempt.
    """

    vectors: FloatArray
    labels: Sequence[str]
    paths: Sequence[str]
    unusable: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def only(self, keep: NDArray[np.bool_]) -> Faces:
        """The rows for which `keep` (N,) is true."""
        rows = np.flatnonzero(keep).tolist()
        labels, paths = [self.labels[row] for row in rows], [self.paths[row] for row in rows]
        return Faces(self.vectors[rows], labels, paths, self.unusable)

    @property
    def people(self) -> NDArray[np.intp]:
        """(N,) number of the person of each row, from 0, in the order of their labels."""
        return np.asarray(np.unique(np.array(self.labels), return_inverse=True)[1], np.intp).reshape(-1)


def read_faces(source: Path, embedder_sha256: str, dimension: int) -> Faces:
    """Faces below a folder, embedded now, or the ones that tools/embed.py has stored.

    Raises:
        InputError: there is nothing usable in it, or it was made by another embedder.
    """
    faces = _embedded(source) if source.is_dir() else _stored(source, embedder_sha256)
    if not len(faces):
        raise InputError(f"{source}: not one usable face in it")
    if faces.vectors.shape[1] != dimension:
        raise InputError(f"{source}: vectors of length {faces.vectors.shape[1]}, the gallery's have {dimension}")
    return faces


def _embedded(folder: Path) -> Faces:
    """Every photo as a door would take it: one sample, not mirrored, of the quality that a door asks for."""
    reader = PhotoReader(QualityConfig())
    vectors: list[FloatArray] = []
    paths: list[str] = []
    found = photos_in(folder)
    for path in tqdm(found, desc=folder.name, unit=" photos", disable=None):
        try:
            sample = reader.sample_file(path).sample
        except ImageError as error:
            tqdm.write(str(error), file=sys.stderr)
            continue
        if sample is not None and sample.embedding is not None:
            vectors.append(sample.embedding)
            paths.append(path.relative_to(folder).as_posix())
    stacked = np.stack(vectors) if vectors else np.zeros((0, reader.dimension), np.float32)
    return Faces(stacked, [_label(path) for path in paths], paths, len(found) - len(paths))


def _stored(path: Path, embedder_sha256: str) -> Faces:
    stored = read_vectors(path)
    if stored.embedder_sha256 != embedder_sha256:
        raise InputError(
            f"{path}: made by another embedder ({stored.embedder_sha256[:12]}, the gallery by {embedder_sha256[:12]}); "
            "embed the photos again with tools/embed.py"
        )
    labels = [_label(each) for each in stored.paths]
    return Faces(stored.embedding, labels, stored.paths, int((~stored.found).sum())).only(stored.found)


def _label(path: str) -> str:
    parts = PurePosixPath(path).parts
    return parts[0] if parts else path
