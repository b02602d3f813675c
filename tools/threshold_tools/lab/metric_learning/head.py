"""A linear head on the embedder's vectors, and its file, bound to the embedder that it was learnt on.

The head is a D x D matrix without a bias: vectors become (matrix @ vector) cut to unit length. As the embedder cuts its
last layer's output to unit length, too, the matrix can be multiplied into that layer: a door has no stage for heads,
and needs none once the model is quantized and calibrated again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings, save_embeddings
from threshold_tools.stats import Reals

HEADER = "threshold-head"  # the one metadata key, as JSON
VERSION = 1


class HeadOrigin(msgspec.Struct, frozen=True):
    """Where a head comes from: `embedder_sha256` the model whose vectors it takes, `people` those it was trained on."""

    version: int
    embedder_sha256: str
    loss: str
    seed: int
    people: int


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A (D, D) float32 matrix and where it comes from."""

    matrix: FloatArray
    origin: HeadOrigin

    @property
    def vectors_sha256(self) -> str:
        """The id of the vectors behind this head, which differs from that of the embedder and of every other head."""
        content = self.origin.embedder_sha256.encode() + np.ascontiguousarray(self.matrix, "<f4").tobytes()
        return hashlib.sha256(content).hexdigest()


def project(matrix: Reals | FloatArray, vectors: FloatArray) -> FloatArray:
    """(N, D) float32 vectors behind a head: unit rows; zero rows, which are photos without a face, stay zero."""
    moved = vectors.astype(np.float64) @ np.asarray(matrix, np.float64).T
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12), np.float32)


def apply_head(matrix: Reals | FloatArray, photos: LabelledEmbeddings) -> LabelledEmbeddings:
    """The same photos with their vectors behind a head."""
    return replace(photos, vectors=project(matrix, photos.vectors))


def apply_head_to_npz(head_file: Path, source: Path, out: Path) -> int:
    """Write the vectors of an .npz behind a head, bound to embedder and head; returns how many show a face.

    Raises:
        InputError: either cannot be read, or they do not belong together.
    """
    head, photos = read_head(head_file), load_embeddings(source)
    if photos.embedder_sha256 != head.origin.embedder_sha256 or photos.vectors.shape[1] != len(head.matrix):
        raise InputError(
            f"{source}: of embedder {photos.embedder_sha256[:12]}, but {head_file} was learnt on "
            f"{head.origin.embedder_sha256[:12]}; embed the photos with that one"
        )
    save_embeddings(out, replace(apply_head(head.matrix, photos), embedder_sha256=head.vectors_sha256))
    return int(photos.found.sum())


def save_head(path: Path, head: Head) -> None:
    """Write a safetensors file durably."""
    matrix = np.ascontiguousarray(head.matrix, np.float32)
    atomic_write(path, save({"matrix": matrix}, {HEADER: msgspec.json.encode(head.origin).decode()}))


def read_head(path: Path) -> Head:
    """Load what `save_head` wrote.

    Raises:
        InputError: the file cannot be read, or is no head.
    """
    try:
        with safe_open(path, framework="np") as stored:
            matrix = stored.get_tensor("matrix")
            origin = msgspec.json.decode((stored.metadata() or {})[HEADER], type=HeadOrigin)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: damaged, or no head from threshold lab adapt") from error
    if origin.version != VERSION:
        raise InputError(f"{path}: a head of version {origin.version}, of which this program knows only {VERSION}")
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.dtype == np.float32
    if not square or not np.isfinite(matrix).all():
        raise InputError(f"{path}: damaged (no square matrix of finite numbers)")
    return Head(matrix, origin)
