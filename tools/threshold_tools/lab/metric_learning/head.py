"""A linear head on the vectors of an embedder, and its file, which contains the hash of that embedder.

The head is a D x D matrix without a bias: vectors become (matrix @ vector), normalised to unit length. The embedder
normalises the output of its last layer, too, so the matrix can be multiplied into that layer. A door therefore needs no
stage for heads; the new model must be quantized and calibrated.
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
    """Origin of a head: `embedder_sha256` is the model of its input, `people` the number of people in training."""

    version: int
    embedder_sha256: str
    loss: str
    seed: int
    people: int


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A (D, D) float32 matrix and its origin."""

    matrix: FloatArray
    origin: HeadOrigin

    @property
    def vectors_sha256(self) -> str:
        """Hash for the vectors behind this head; it differs from those of the embedder and of all other heads."""
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
    """Write the vectors of an .npz file behind a head, with the hash of embedder and head.

    Returns:
        Number of vectors with a face.

    Raises:
        InputError: a file cannot be read, or they are of different embedders.
    """
    head, photos = read_head(head_file), load_embeddings(source)
    if photos.embedder_sha256 != head.origin.embedder_sha256 or photos.vectors.shape[1] != len(head.matrix):
        raise InputError(
            f"{source}: made by embedder {photos.embedder_sha256[:12]}, but {head_file} was trained on "
            f"{head.origin.embedder_sha256[:12]}; embed the photos with that embedder"
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
        InputError: the file cannot be read, or is not a head.
    """
    try:
        with safe_open(path, framework="np") as stored:
            matrix = stored.get_tensor("matrix")
            origin = msgspec.json.decode((stored.metadata() or {})[HEADER], type=HeadOrigin)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: damaged, or not a head of threshold lab adapt") from error
    if origin.version != VERSION:
        raise InputError(f"{path}: head of version {origin.version}; this program supports version {VERSION}")
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.dtype == np.float32
    if not square or not np.isfinite(matrix).all():
        raise InputError(f"{path}: damaged (not a square matrix of finite numbers)")
    return Head(matrix, origin)
