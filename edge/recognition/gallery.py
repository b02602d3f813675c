"""Enrolled people, with one centroid and one threshold each, and the search for the two nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.records import FloatArray, Match, Person
from edge.recognition.shortlist import IndexTuning, build_index

MAX_DISTANCE_SQ = 4.0  # squared distance of opposite unit vectors


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """Metadata of a gallery: `version` is the sha256 of the file, `embedder_sha256` that of its embedder."""

    version: str
    embedder_sha256: str
    people: int


class Gallery:
    """Searchable centroids; immutable."""

    def __init__(
        self,
        people: Sequence[Person],
        centroids: FloatArray,
        thresholds_sq: FloatArray,
        info: GalleryInfo,
        *,
        tuning: IndexTuning | None = None,
    ) -> None:
        """
        Raises:
            ValueError: a row of a large gallery is not of unit length.
        """
        tuning = tuning or IndexTuning()
        self.people = people  # everybody enrolled, in row order
        self.info = info  # metadata of the file
        self.centroids = np.ascontiguousarray(centroids, np.float32)  # (N, D) float32, unit rows
        self.thresholds_sq = thresholds_sq  # (N,) float32, 0..4, lower is stricter
        self._index = build_index(self.centroids, tuning) if len(self.centroids) >= tuning.min_rows else None

    @property
    def index_bytes(self) -> int:
        """Memory of the index of a large gallery, without its vectors; 0 for a small one."""
        return sum(block.nbytes for block in self._index.blocks) if self._index else 0

    def nearest(self, embedding: FloatArray) -> Match:
        """Find the person nearest to a (D,) unit embedding: |a - b|^2 = 2 - 2 a.b on unit vectors.

        In a large gallery the index excludes most rows first; the result is the same.
        """
        if not self.people:
            return Match(None, MAX_DISTANCE_SQ, 0.0, MAX_DISTANCE_SQ)
        rows = self._index.shortlist(embedding) if self._index else None
        row, best, second = _nearest_two(self.centroids if rows is None else self.centroids[rows], embedding)
        if rows is not None:
            row = rows.item(row)
        return Match(self.people[row], _squared_distance(best), self.thresholds_sq.item(row), _squared_distance(second))


def empty_gallery(dimension: int, embedder_sha256: str) -> Gallery:
    """A gallery without people, for this embedder."""
    nothing = np.zeros((0, dimension), np.float32)
    return Gallery([], nothing, np.zeros(0, np.float32), GalleryInfo("", embedder_sha256, 0))


def _nearest_two(rows: FloatArray, embedding: FloatArray) -> tuple[int, float, float]:
    """Row with the largest cosine similarity, that similarity, and the second largest; -1 if there is none."""
    likeness = rows.dot(embedding)  # a microsecond less than @ takes
    first = int(likeness.argmax())
    best = likeness.item(first)
    likeness[first] = -1.0
    return first, best, likeness.item(likeness.argmax())


def _squared_distance(likeness: float) -> float:
    """Squared distance from cosine similarity, clipped to 0..4 against rounding."""
    return min(max(2 - 2 * likeness, 0.0), MAX_DISTANCE_SQ)
