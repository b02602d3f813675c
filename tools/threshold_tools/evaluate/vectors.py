"""What is evaluated: a vector for every photo, or the note that none could be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError
from edge.core.records import FloatArray
from threshold_tools.embeddings import embed_photos, read_vectors, save_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Every photo, those without a face included.

    Attributes:
        vectors: (N, D) float32 unit rows; zeros where no face was found.
        found: (N,) whether one was.
        paths: N paths relative to the folder, with slashes.
        people: (N,) number of the person of each photo, 0..P-1.
        names: P names; the person of a photo is the first component of its path.
        embedder_sha256: the model that made the vectors.
    """

    vectors: FloatArray
    found: NDArray[np.bool_]
    paths: list[str]
    people: NDArray[np.intp]
    names: list[str]
    embedder_sha256: str

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def rows_of(self) -> list[NDArray[np.intp]]:
        """The rows of each person, in the order of `names`."""
        order = np.argsort(self.people, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.people, minlength=len(self.names)))[:-1])

    def only(self, keep: NDArray[np.bool_]) -> Photos:
        """The photos for which `keep` (N,) is true, people numbered anew."""
        rows = np.flatnonzero(keep)
        return photos_of(
            self.vectors[rows], self.found[rows], [self.paths[row] for row in rows.tolist()], self.embedder_sha256
        )


def photos_of(vectors: FloatArray, found: NDArray[np.bool_], paths: list[str], embedder_sha256: str) -> Photos:
    """Photos with the people that their paths name."""
    names, people = np.unique([PurePosixPath(path).parts[0] for path in paths], return_inverse=True)
    return Photos(vectors, found, paths, people.reshape(-1).astype(np.intp), names.tolist(), embedder_sha256)


def read_photos(source: Path, keep: Path | None) -> Photos:
    """Embed the photos below a folder as tools/embed.py does, or read what it has stored.

    Args:
        source: a folder with one folder of photos for each person, or an .npz.
        keep: where to store the vectors of a folder for next time, or None.

    Raises:
        InputError: there is nothing usable in it, or it is damaged.
    """
    if source.is_dir():
        vectors = embed_photos(source)
        if keep is not None:
            save_vectors(keep, vectors)
    elif keep is not None:
        raise InputError(f"--out-vectors: {source} is no folder of photos, so there are no new vectors to keep")
    else:
        vectors = read_vectors(source)
    if not vectors.found.any():
        raise InputError(f"{source}: not one face in {len(vectors.paths)} photos; nothing can be measured")
    return photos_of(vectors.embedding, vectors.found, vectors.paths, vectors.embedder_sha256)
