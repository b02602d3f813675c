"""Embeddings of labelled photos: computed from a folder, stored in an .npz file, loaded and checked."""

from __future__ import annotations

import io
import sys
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edge.core.config import QualityConfig
from edge.core.errors import ImageError, InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from threshold_tools.photos import ANY_QUALITY, PhotoSampler, normalize, photos_in
from threshold_tools.reports.terminal import track

_UNIT_TOLERANCE = 1e-3
_DAMAGE = (KeyError, ValueError, TypeError, EOFError, IndexError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class LabelledEmbeddings:
    """One row for every photo, with or without a face; the first component of a path names the person."""

    vectors: FloatArray  # (N, D) float32 unit rows of the main (largest, most central) face, or zeros
    found: NDArray[np.bool_]  # (N,) bool, whether a face was found
    paths: list[str]  # N paths relative to the folder, with slashes
    embedder_sha256: str  # the model that made the vectors

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def labels(self) -> list[str]:
        """N names of people: the folder of each photo, or the photo itself if it is in no folder."""
        return [PurePosixPath(path).parts[0] for path in self.paths]

    @cached_property
    def names(self) -> list[str]:
        """P different names, sorted."""
        return sorted(set(self.labels))

    @cached_property
    def people(self) -> NDArray[np.intp]:
        """(N,) number of the person of each photo: the index into `names`."""
        number = {name: place for place, name in enumerate(self.names)}
        return np.array([number[label] for label in self.labels], np.intp)

    @cached_property
    def rows_of(self) -> list[NDArray[np.intp]]:
        """The rows of each person, in the order of `names`."""
        order = np.argsort(self.people, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.people, minlength=len(self.names)))[:-1])

    def only(self, keep: NDArray[np.bool_]) -> LabelledEmbeddings:
        """The photos for which `keep` (N,) is true; people are renumbered from 0."""
        rows = np.flatnonzero(keep)
        paths = [self.paths[row] for row in rows.tolist()]
        return LabelledEmbeddings(self.vectors[rows], self.found[rows], paths, self.embedder_sha256)


def embed_photos(folder: Path, *, mirror: bool = True, quality: QualityConfig = ANY_QUALITY) -> LabelledEmbeddings:
    """Embed all photos below a folder; an unreadable photo is reported and counts as not found.

    Args:
        folder: folder, including subfolders.
        mirror: embed each photo together with its mirror image, as in enrolment and at a door.
        quality: limits that a face must meet to count as found.

    Raises:
        InputError: no such folder, or no photo in it.
    """
    paths = photos_in(folder)
    sampler = PhotoSampler(quality)
    vectors = np.zeros((len(paths), sampler.dimension), np.float32)
    found = np.zeros(len(paths), bool)
    for row, path in enumerate(track(paths, "Embedding photos")):
        try:
            photo = sampler.sample_file(path, mirror=mirror)
        except ImageError as error:
            print(error, file=sys.stderr)
            continue
        if photo.sample is not None and photo.sample.embedding is not None:
            mirrored = photo.sample.embedding if photo.mirrored is None else photo.mirrored
            vectors[row] = normalize(photo.sample.embedding + mirrored)
            found[row] = True
    relative = [path.relative_to(folder).as_posix() for path in paths]
    return LabelledEmbeddings(vectors, found, relative, sampler.embedder_sha256)


def save_embeddings(path: Path, embeddings: LabelledEmbeddings) -> None:
    """Write an .npz file with `path`, `embedding`, `found` and `embedder_sha256`, durably and privately (0600)."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        path=np.array(embeddings.paths),
        embedding=embeddings.vectors,
        found=embeddings.found,
        embedder_sha256=embeddings.embedder_sha256,
    )
    atomic_write(path, buffer.getvalue(), private=True)


def load_embeddings(path: Path) -> LabelledEmbeddings:
    """Load what `save_embeddings` wrote.

    Raises:
        InputError: the file cannot be read, or is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            # NumPy returns an entry that is not an array as bytes.
            vectors, found = np.asarray(stored["embedding"]), np.asarray(stored["found"])
            paths, embedder_sha256 = [str(each) for each in stored["path"]], str(stored["embedder_sha256"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged, or not from threshold embed ({error})") from error
    right = vectors.dtype == np.float32 and vectors.ndim == 2 and found.dtype == bool and found.ndim == 1
    named = all(PurePosixPath(each).parts for each in paths)
    if not right or not named or not len(paths) == len(vectors) == len(found):
        raise InputError(
            f"{path}: damaged (arrays of the wrong shape or type); embed the photos again with threshold embed"
        )
    if not np.all(np.abs(np.linalg.norm(vectors[found], axis=1) - 1) < _UNIT_TOLERANCE):
        raise InputError(f"{path}: damaged (vectors not of unit length); embed the photos again with threshold embed")
    return LabelledEmbeddings(vectors, found, paths, embedder_sha256)


def load_or_embed(
    source: Path, *, mirror: bool = True, quality: QualityConfig = ANY_QUALITY, keep: Path | None = None
) -> LabelledEmbeddings:
    """Embed the photos of a folder, or load stored embeddings.

    Args:
        source: folder with one folder of photos for each person, or an .npz file.
        mirror, quality: as in `embed_photos`; for a folder.
        keep: file to save the embeddings of a folder to, or None.

    Raises:
        InputError: it contains no face, it is damaged, or `keep` is given and it is not a folder.
    """
    if source.is_dir():
        embeddings = embed_photos(source, mirror=mirror, quality=quality)
        if keep is not None:
            save_embeddings(keep, embeddings)
    elif keep is not None:
        raise InputError(f"--out-vectors: {source} is not a folder of photos, so there are no new vectors to store")
    else:
        embeddings = load_embeddings(source)
    if not embeddings.found.any():
        raise InputError(f"{source}: no usable face in {len(embeddings)} photos; nothing can be measured")
    return embeddings
