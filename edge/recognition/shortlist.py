"""Which rows of a large matrix can be the nearest two, told for certain from an eighth of its bytes or so.

A row is kept as its code: turned into the few directions in which rows differ at all, and rounded to a byte a number.
By the triangle inequality the distance to a code is that to the row, give or take the rounding. A row that is farther
than the second nearest, even if all errors were in their favour, cannot be among the nearest two; the few who are left
are to be measured exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray

UNIT_TOLERANCE = 1e-3  # of a squared length
_PART = 1024  # rows coded at once, in little memory
_TOO_MANY = 8  # one row in so many is too long a shortlist
_SAMPLED = 2048  # rows by which the directions are chosen
_COMPUTED_SQ, _COMPUTED = 2e-6, 1.01  # what float32 arithmetic may add to a squared error, and to an error


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """Sizes of an index; the answers are the same whatever they are."""

    min_rows: int = 8192  # smaller galleries have no index: 6 MB of vectors already leave a small board's caches
    block_rows: int = 8192  # rows of a block, about
    shortlist_rows: int = 32  # rows kept of a block; where more could matter, the whole block is measured
    lanes: int = 16  # directions are kept in multiples of this many, as SIMD registers hold bytes
    # Squared length that the directions left out may hold, about what rounding to bytes costs
    max_residual: float = 3e-4


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedIndex:
    """The rows of a matrix in bytes."""

    basis: FloatArray  # (D, W) float32, orthonormal columns: the directions that are kept
    step: float  # what one unit of a byte is worth
    blocks: list[NDArray[np.uint8]]  # consecutive rows, each (n, W) uint8; 128 stands for 0
    starts: NDArray[np.int64]  # (blocks, 1) int64, the first row of each
    error: float  # the largest distance between a row, in the directions that are kept, and what its code stands for
    spread: float  # the largest squared length of a row less the smallest, in the directions that are kept
    left_out: float  # the largest length of a row in those that are not
    shortlist_rows: int  # rows kept of a block

    def shortlist(self, probe: FloatArray) -> NDArray[np.int64] | None:
        """Rows among which the two of largest dot product with a (D,) float32 probe are for certain.

        2 x.q = |k|^2 + |p|^2 - |k - p|^2 + 2 (x - k).(q - p), where k and p are what is kept of a row x and of the
        probe q: |k|^2 differs from row to row by `spread` at most, and the last product is within `left_out` |q - p|.

        Returns:
            Two rows at least, ascending, or None when there are too many to be worth it.
        """
        kept = probe @ self.basis
        code, rounded_sq = _round(kept[None], self.step)
        error = self.error + _COMPUTED * (rounded_sq.item(0) + _COMPUTED_SQ) ** 0.5
        missed = (max(float(probe @ probe) - float(kept @ kept), 0.0) + _COMPUTED_SQ) ** 0.5
        shape = (len(self.blocks), min(self.shortlist_rows, len(self.blocks[-1])))
        coarse_sq, rows = np.empty(shape, np.int32), np.empty(shape, np.int32)
        for number, block in enumerate(self.blocks):
            coarse_sq[number], rows[number] = cv2.batchDistance(
                code, block, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=shape[1]
            )
        second = self.step * float(np.partition(coarse_sq, 1, axis=None)[1]) ** 0.5 + error
        reach = (second**2 + self.spread + 4 * self.left_out * missed) ** 0.5 + error
        possible = ~(coarse_sq > (reach / self.step) ** 2)  # of a probe that is not a number, everybody
        return self._rows(possible, (rows + self.starts)[possible])

    def _rows(self, possible: NDArray[np.bool_], chosen: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The rows chosen, and all of those blocks whose list may be too short."""
        overflowing = np.flatnonzero(possible[:, -1])
        if not len(overflowing):
            return np.sort(chosen)
        lengths = [len(self.blocks[number]) for number in overflowing]
        if sum(lengths) * _TOO_MANY > sum(map(len, self.blocks)):
            return None
        starts = self.starts[overflowing, 0]
        ranges = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        return np.unique(np.concatenate([chosen, *ranges]))


def build_index(rows: FloatArray, tuning: IndexTuning) -> QuantizedIndex:
    """Code (N, D) float32 unit rows, N > 1; reads all of them twice.

    Raises:
        ValueError: one is not of unit length.
    """
    basis = _directions(rows[:: max(len(rows) // _SAMPLED, 1)], tuning)
    codes = np.empty((len(rows), basis.shape[1]), np.uint8)
    parts = [slice(start, start + _PART) for start in range(0, len(rows), _PART)]
    step = max(float(np.abs(rows[part] @ basis).max()) for part in parts) / 127
    extremes = np.empty((len(parts), 4))
    for number, part in enumerate(parts):
        lengths_sq, kept = unit_lengths_sq(rows[part]), rows[part] @ basis
        codes[part], rounded_sq = _round(kept, step)
        kept_sq = np.einsum("ij,ij->i", kept, kept)
        extremes[number] = rounded_sq.max(), (lengths_sq - kept_sq).max(), kept_sq.max(), -kept_sq.min()
    rounded, missed, longest, shortest = extremes.max(axis=0).tolist()
    error, left_out = (_COMPUTED * (max(each, 0.0) + _COMPUTED_SQ) ** 0.5 for each in (rounded, missed))
    blocks = np.array_split(codes, -(-len(rows) // tuning.block_rows))
    starts = np.cumsum([0, *(len(block) for block in blocks[:-1])])[:, None]
    return QuantizedIndex(basis, step, blocks, starts, error, longest + shortest, left_out, tuning.shortlist_rows)


def unit_lengths_sq(rows: FloatArray) -> FloatArray:
    """Squared lengths of (N, D) float32 rows.

    Raises:
        ValueError: one is not of unit length.
    """
    lengths_sq: FloatArray = np.einsum("ij,ij->i", rows, rows)
    if not np.all(np.abs(lengths_sq - 1) < UNIT_TOLERANCE):  # not-a-number fails this, too
        raise ValueError("a centroid is not of unit length")
    return lengths_sq


def _directions(sample: FloatArray, tuning: IndexTuning) -> FloatArray:
    """(D, W) orthonormal columns that span all but `max_residual` of a sample: its principal directions, mixed evenly.

    Mixed by a cosine transform, because the step of a byte has to suit the largest number of all.
    """
    sizes, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    left_out = np.cumsum(sizes)  # from the smallest on
    width = len(sizes) - int(np.searchsorted(left_out, tuning.max_residual))
    width = min(-(-width // tuning.lanes) * tuning.lanes, len(sizes))
    principal = directions[:, len(sizes) - width :].astype(np.float32)
    return np.ascontiguousarray(cv2.dct(principal, flags=cv2.DCT_ROWS))


def _round(kept: FloatArray, step: float) -> tuple[NDArray[np.uint8], FloatArray]:
    """(N, W) numbers in bytes, and the (N,) squared distances between the numbers and what their bytes stand for."""
    codes = cv2.addWeighted(kept, 1 / step, kept, 0, 128, dtype=cv2.CV_8U)
    rounded = cv2.addWeighted(kept, 1 / step, codes, -1, 128, dtype=cv2.CV_32F)
    return np.asarray(codes, np.uint8), np.einsum("ij,ij->i", rounded, rounded) * np.float32(step**2)
