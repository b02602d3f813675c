"""Who is enrolled: one centroid and one threshold per person, in a safetensors file bound to its embedder.

The file holds `centroids` (N, D) float32 unit rows, `thresholds_sq` (N,) float32, and the people as UTF-8 text in one
byte tensor `people` cut by `ends` (N,) uint64: a tab between id and name. Nothing in it can execute.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge.errors import GalleryError
from edge.files import replace_file
from edge.records import Floats, Match, Person

HEADER = "threshold-gallery"  # the one metadata key, as JSON: with several, safetensors orders them by chance
VERSION = 1
FARTHEST_SQ = 4.0  # squared distance of opposite unit vectors
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What a gallery says of itself: `version` is the sha256 of the file, `embedder_sha256` the model it belongs to."""

    version: str
    embedder_sha256: str
    people: int


class _Header(msgspec.Struct, frozen=True):
    version: int
    embedder_sha256: str


class Gallery:
    """Centroids to measure against; immutable.

    Attributes:
        people: everybody enrolled, in row order.
        info: what the gallery says of itself.
    """

    def __init__(self, people: Sequence[Person], centroids: Floats, thresholds_sq: Floats, info: GalleryInfo) -> None:
        """
        Args:
            people: N people.
            centroids: (N, D) float32, unit rows.
            thresholds_sq: (N,) float32, 0..4, lower is stricter.
            info: what the gallery says of itself.
        """
        self.people = people
        self.info = info
        self._centroids = np.ascontiguousarray(centroids, np.float32)
        self._thresholds_sq = thresholds_sq

    def nearest(self, embedding: Floats) -> Match:
        """Measure one (D,) unit embedding against everybody: |a - b|^2 = 2 - 2 a.b on unit vectors."""
        if not self.people:
            return Match(None, FARTHEST_SQ, 0.0, FARTHEST_SQ)
        likeness = self._centroids @ embedding
        first = int(likeness.argmax())
        best = float(likeness[first])
        likeness[first] = -1.0
        second = float(likeness.max()) if len(self.people) > 1 else -1.0
        return Match(self.people[first], _distance_sq(best), float(self._thresholds_sq[first]), _distance_sq(second))


def load_gallery(path: Path, embedder_sha256: str) -> Gallery:
    """Read a gallery and check all of it.

    Raises:
        GalleryError: it is missing, truncated, malformed, or was made by another embedder.
    """
    try:
        version = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(HEADER, "")
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except OSError as error:
        raise GalleryError(f"{path}: cannot be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise GalleryError(f"{path}: damaged or not a gallery ({error}); make it again or restore a copy") from error
    try:
        header = msgspec.json.decode(text, type=_Header)
    except msgspec.MsgspecError as error:
        raise GalleryError(f"{path}: a safetensors file, but no gallery; make one with tools/enroll.py") from error
    if header.version != VERSION:
        raise GalleryError(f"{path}: gallery version {header.version}, this program reads version {VERSION}")
    if header.embedder_sha256 != embedder_sha256:
        raise GalleryError(
            f"{path}: made by another embedder ({header.embedder_sha256[:12]}, this door runs {embedder_sha256[:12]}); "
            "enrol again with tools/enroll.py"
        )
    try:
        people, centroids, thresholds_sq = _checked(tensors)
    except (KeyError, ValueError) as error:
        raise GalleryError(f"{path}: damaged ({error}); make it again or restore a copy") from error
    return Gallery(people, centroids, thresholds_sq, GalleryInfo(version, embedder_sha256, len(people)))


def save_gallery(path: Path, people: Sequence[Person], centroids: Floats, thresholds_sq: Floats, embedder: str) -> None:
    """Write a gallery durably; a reader sees the old file or the whole new one.

    Args:
        people: N people with distinct ids; no tabs or line breaks in ids and names.
        centroids: (N, D) float32 unit rows.
        thresholds_sq: (N,) float32.
        embedder: sha256 of the embedder's model file.
    """
    texts = [f"{person.id}\t{person.name}".encode() for person in people]
    tensors: dict[str, NDArray[Any]] = {
        "centroids": np.ascontiguousarray(centroids, np.float32),
        "thresholds_sq": np.ascontiguousarray(thresholds_sq, np.float32),
        "people": np.frombuffer(b"".join(texts), np.uint8),
        "ends": np.cumsum([len(text) for text in texts], dtype=np.uint64),
    }
    header = msgspec.json.encode(_Header(version=VERSION, embedder_sha256=embedder)).decode()
    replace_file(path, save(tensors, {HEADER: header}))


def _checked(tensors: dict[str, NDArray[Any]]) -> tuple[list[Person], Floats, Floats]:
    centroids, thresholds_sq = tensors["centroids"], tensors["thresholds_sq"]
    if centroids.dtype != np.float32 or centroids.ndim != 2 or thresholds_sq.dtype != np.float32:
        raise ValueError("tensors of the wrong type")
    text = tensors["people"].tobytes()
    ends = [0, *(int(end) for end in tensors["ends"])]
    if not len(ends) - 1 == len(centroids) == len(thresholds_sq) or ends[-1] != len(text):
        raise ValueError("tensors of different lengths")
    people = [_person(text[start:end]) for start, end in itertools.pairwise(ends)]
    if len({person.id for person in people}) != len(people):
        raise ValueError("a person stands in it twice")
    lengths_sq = np.einsum("ij,ij->i", centroids, centroids)
    if not np.all(np.abs(lengths_sq - 1) < _UNIT_TOLERANCE):  # not-a-number fails this, too
        raise ValueError("a centroid is not of unit length")
    if not np.all((thresholds_sq >= 0) & (thresholds_sq <= FARTHEST_SQ)):
        raise ValueError("a threshold is outside 0..4")
    return people, centroids, thresholds_sq


def _person(text: bytes) -> Person:
    id_, tab, name = text.decode().partition("\t")
    if not id_ or not tab:
        raise ValueError("a person without id")
    return Person(id_, name)


def _distance_sq(likeness: float) -> float:
    """From cosine similarity to squared distance, kept in 0..4 against rounding."""
    return min(max(2 - 2 * likeness, 0.0), FARTHEST_SQ)
