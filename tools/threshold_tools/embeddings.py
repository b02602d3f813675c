"""Embeddings of many photos: made from a folder, kept in an .npz, read back and checked."""

from __future__ import annotations

import io
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.core.errors import ImageError, InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from threshold_tools.photos import ANY_QUALITY, PhotoReader, normalize, photos_in

_UNIT_TOLERANCE = 1e-3
_DAMAGE = (KeyError, ValueError, TypeError, EOFError, IndexError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """One row for every photo, those without a face included.

    Attributes:
        embedding: (N, D) float32 unit rows of the main (largest, most central) face; zeros where none was found.
        found: (N,) whether one was.
        paths: N paths relative to the folder, with slashes, sorted.
        embedder_sha256: the model that made the vectors.
    """

    embedding: FloatArray
    found: NDArray[np.bool_]
    paths: list[str]
    embedder_sha256: str


def embed_photos(folder: Path, *, mirror: bool = True) -> Vectors:
    """Embed all photos below a folder; an unreadable photo is reported and counts as not found.

    Args:
        folder: searched to any depth.
        mirror: each photo together with its mirror image, as enrolment takes it and as a door's samples come by turns.

    Raises:
        InputError: no such folder, or no photo in it.
    """
    paths = photos_in(folder)
    reader = PhotoReader(ANY_QUALITY)
    embedding = np.zeros((len(paths), reader.dimension), np.float32)
    found = np.zeros(len(paths), bool)
    for row, path in enumerate(tqdm(paths, desc="embed", unit=" photos", disable=None)):
        try:
            seen = reader.sample_file(path, mirror=mirror)
        except ImageError as error:
            tqdm.write(str(error), file=sys.stderr)
            continue
        if seen.sample is not None and seen.sample.embedding is not None:
            mirrored = seen.sample.embedding if seen.mirrored is None else seen.mirrored
            embedding[row] = normalize(seen.sample.embedding + mirrored)
            found[row] = True
    relative = [path.relative_to(folder).as_posix() for path in paths]
    return Vectors(embedding, found, relative, reader.embedder_sha256)


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Write an .npz with `path`, `embedding`, `found` and `embedder_sha256`, durably."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        path=np.array(vectors.paths),
        embedding=vectors.embedding,
        found=vectors.found,
        embedder_sha256=vectors.embedder_sha256,
    )
    atomic_write(path, buffer.getvalue(), private=True)


def read_vectors(path: Path) -> Vectors:
    """What `save_vectors` wrote.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            embedding, found = (
                np.asarray(stored["embedding"]),
                np.asarray(stored["found"]),
            )  # bytes, if they are no array
            paths, made_by = [str(each) for each in stored["path"]], str(stored["embedder_sha256"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged, or not from tools/embed.py ({error})") from error
    right = embedding.dtype == np.float32 and embedding.ndim == 2 and found.dtype == bool and found.ndim == 1
    named = all(PurePosixPath(each).parts for each in paths)
    if not right or not named or not len(paths) == len(embedding) == len(found):
        raise InputError(f"{path}: damaged (arrays of the wrong form); embed the photos again with tools/embed.py")
    if not np.all(np.abs(np.linalg.norm(embedding[found], axis=1) - 1) < _UNIT_TOLERANCE):
        raise InputError(f"{path}: damaged (vectors not of unit length); embed the photos again with tools/embed.py")
    return Vectors(embedding, found, paths, made_by)
