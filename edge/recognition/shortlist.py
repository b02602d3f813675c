"""Index for exact search: finds candidates for the two nearest rows of a large matrix from about 1/8 of its bytes.

The code of a row is its projection onto the few directions in which rows differ, rounded to one byte per number. By the
triangle inequality, the distance to a code differs from that to the row at most by the rounding error. A row that is
farther than the second nearest even with the most favourable errors is excluded; the caller measures the rest exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray

UNIT_TOLERANCE = 1e-3  # of a squared length
_PART = 1024  # rows encoded per step, which limits memory
_TOO_MANY = 8  # a shortlist of more than 1/8 of the rows is not worth it
_SAMPLED = 2048  # rows from which the directions are computed
_COMPUTED_SQ, _COMPUTED = 2e-6, 1.01  # bounds of the float32 error, added to a squared error and multiplied


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """Sizes of an index; results do not depend on them."""

    min_rows: int = 8192  # smaller galleries have no index; 8192 rows are 6 MB, more than the caches of a small board
    block_rows: int = 8192  # approximate rows of a block
    shortlist_rows: int = 32  # candidates per block; with more of them the whole block is measured
    lanes: int = 16  # the number of directions is a multiple of this: bytes of a SIMD register
    # Largest squared length in the omitted directions, about the error of rounding to bytes
    max_residual: float = 3e-4


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedIndex:
    """Rows of a matrix, encoded in bytes."""

    basis: FloatArray  # (D, W) float32, orthonormal columns: the used directions
    step: float  # length of one unit of a byte
    blocks: list[NDArray[np.uint8]]  # consecutive rows, each (n, W) uint8; 128 encodes 0
    starts: NDArray[np.int64]  # (blocks, 1) int64, first row of each block
    error: float  # largest distance between a projected row and its decoded code
    spread: float  # largest minus smallest squared length of the projected rows
    left_out: float  # largest length of a row in the omitted directions
    shortlist_rows: int  # candidates per block

    def shortlist(self, probe: FloatArray) -> NDArray[np.int64] | None:
        """Rows that certainly include the two with the largest dot product with a (D,) float32 probe.

        2 x.q = |k|^2 + |p|^2 - |k - p|^2 + 2 (x - k).(q - p), where k and p are the projections of a row x and of the
        probe q: |k|^2 differs from row to row by `spread` at most, and the last product is within `left_out` |q - p|.

        Returns:
            At least two rows, ascending, or None if they are too many.
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
        possible = ~(coarse_sq > (reach / self.step) ** 2)  # all rows if the probe is not a number
        return self._rows(possible, (rows + self.starts)[possible])

    def _rows(self, possible: NDArray[np.bool_], chosen: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The candidates, and all rows of blocks with more candidates than `shortlist_rows`."""
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
    """Encode (N, D) float32 unit rows, N > 1; reads all of them twice.

    Raises:
        ValueError: a row is not of unit length.
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
        ValueError: a row is not of unit length.
    """
    lengths_sq: FloatArray = np.einsum("ij,ij->i", rows, rows)
    if not np.all(np.abs(lengths_sq - 1) < UNIT_TOLERANCE):  # also raises for not-a-number
        raise ValueError("a centroid is not of unit length")
    return lengths_sq


def _directions(sample: FloatArray, tuning: IndexTuning) -> FloatArray:
    """(D, W) orthonormal columns that span a sample except for `max_residual`: its principal directions, mixed.

    A cosine transform mixes them, so that their numbers have similar ranges and fit one step size.
    """
    sizes, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    left_out = np.cumsum(sizes)  # from the smallest on
    width = len(sizes) - int(np.searchsorted(left_out, tuning.max_residual))
    width = min(-(-width // tuning.lanes) * tuning.lanes, len(sizes))
    principal = directions[:, len(sizes) - width :].astype(np.float32)
    return np.ascontiguousarray(cv2.dct(principal, flags=cv2.DCT_ROWS))


def _round(kept: FloatArray, step: float) -> tuple[NDArray[np.uint8], FloatArray]:
    """Encode (N, W) numbers in bytes; also returns the (N,) squared distances to the decoded numbers."""
    codes = cv2.addWeighted(kept, 1 / step, kept, 0, 128, dtype=cv2.CV_8U)
    rounded = cv2.addWeighted(kept, 1 / step, codes, -1, 128, dtype=cv2.CV_32F)
    return np.asarray(codes, np.uint8), np.einsum("ij,ij->i", rounded, rounded) * np.float32(step**2)
