"""Exact FMR, FNMR, TAR and EER over every pair of photos.

The threshold of a target FMR is the largest that does not exceed it. Each block of rows is sorted and counted against
the genuine distances. Only the smallest hundredth of the impostor distances is kept, which the thresholds need: for N
photos N²/200 float32, 200 MB for 100,000 photos and 20 GB for a million. All genuine distances are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools import stats
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import TarAtFar, VerificationResult
from threshold_tools.reports.terminal import track
from threshold_tools.stats import Reals

TARGET_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
BINS = np.linspace(0, 4, 401)
WORST = 12
_WORST_KEPT = 500  # pairs kept; the worst pair of any two people is shown
BLOCK = 512
_DET_POINTS = 400
NO_PAIR = 5.0  # larger than any distance of unit vectors


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """All pairs of photos that have a face; distances are squared, lower is nearer."""

    genuine_sq: FloatArray  # (G,) float32, of pairs of one person, sorted
    impostor_count: int  # pairs of two people
    impostors_within: NDArray[np.int64]  # (G,) number of those at or below each genuine distance
    nearest_sq: FloatArray  # smallest impostor distances, sorted: one more than the laxest target needs
    genuine_bins: NDArray[np.int64]  # pairs in each of `BINS`
    impostor_bins: NDArray[np.int64]  # pairs in each of `BINS`
    false_matches: list[tuple[float, int, int]]  # (distance_sq, row, row): nearest pairs, one for any two people
    false_non_matches: list[tuple[float, int, int]]  # farthest pairs of one person, one for each person
    mated: int  # pairs of one person, including photos without a face

    def has_enough_samples(self, fmr: float) -> bool:
        """Whether at least one false match is expected in all impostor pairs."""
        return stats.has_enough_samples(fmr, self.impostor_count)

    def threshold_sq(self, fmr: float) -> float:
        """The largest threshold with at most this share of impostor pairs at or below it."""
        return stats.largest_threshold(self.nearest_sq, stats.allowed_errors(fmr, self.impostor_count))

    def accepted(self, threshold_sq: float) -> int:
        """Genuine pairs at or below a threshold."""
        return int(np.searchsorted(self.genuine_sq, threshold_sq, side="right"))

    def fmr_at(self, threshold_sq: float) -> float:
        """Share of impostor pairs at or below a threshold that is no laxer than the laxest target."""
        return float(np.searchsorted(self.nearest_sq, threshold_sq, side="right")) / self.impostor_count

    def det(self, *, failures: bool = False) -> tuple[Reals, Reals]:
        """FMR and FNMR, (G,) each, at thresholds equal to the genuine distances, from strict to lax.

        Args:
            failures: count pairs with a photo without a face as false non-matches.
        """
        total = self.mated if failures else len(self.genuine_sq)
        last = np.searchsorted(self.genuine_sq, self.genuine_sq, side="right")
        return self.impostors_within / self.impostor_count, 1 - last / total

    def eer(self, *, failures: bool = False) -> float:
        """Rate at which FMR and FNMR are equal."""
        return stats.equal_error_rate(*self.det(failures=failures))

    def result(self) -> VerificationResult:
        """The rates at all target FMRs that the pairs support."""
        at = []
        supported = [fmr for fmr in TARGET_FMRS if self.has_enough_samples(fmr)]
        for fmr in supported:
            limit = self.threshold_sq(fmr)
            accepted, false_matches = self.accepted(limit), round(self.fmr_at(limit) * self.impostor_count)
            at.append(TarAtFar(fmr, limit, false_matches, accepted / len(self.genuine_sq), accepted / self.mated))
        return VerificationResult(
            mated=len(self.genuine_sq),
            mated_with_failures=self.mated,
            non_mated=self.impostor_count,
            eer=self.eer(),
            eer_with_failures=self.eer(failures=True),
            at=at,
            unsupported_fmr=[fmr for fmr in TARGET_FMRS if fmr not in supported],
            det=downsample_curve(*self.det()),
        )


def downsample_curve(fmr: Reals, fnmr: Reals) -> list[tuple[float, float]]:
    """Some points of a DET curve: evenly over both rates' logarithms, the ends included."""
    rows: NDArray[np.intp] = np.arange(len(fmr))
    if len(fmr) > _DET_POINTS:
        lowest = max(fmr[fmr > 0].min(initial=1), 1e-12)
        by_fmr = np.searchsorted(fmr, np.geomspace(lowest, 1, _DET_POINTS // 2))
        by_fnmr = np.searchsorted(-fnmr, -np.geomspace(1 / len(fmr), 1, _DET_POINTS // 2))
        rows = np.unique(np.clip(np.concatenate([[0], by_fmr, by_fnmr, [len(fmr) - 1]]), 0, len(fmr) - 1))
    return [(float(fmr[row]), float(fnmr[row])) for row in rows]


def sweep(
    photos: LabelledEmbeddings, laxest: float = TARGET_FMRS[0], block: int = BLOCK, *, show_progress: bool = False
) -> Sweep | None:
    """Measure every pair of photos with a face; None without a pair of one person or of two people.

    Args:
        photos: all photos.
        laxest: largest FMR of the thresholds needed.
        block: rows compared with all others at a time; the result does not depend on it.
        show_progress: show a progress bar on a terminal.
    """
    rows = np.flatnonzero(photos.found)
    vectors, people = photos.vectors[rows], photos.people[rows]
    counts = np.bincount(people)
    mated_found = int(np.sum(counts * (counts - 1) // 2))
    impostors = len(rows) * (len(rows) - 1) // 2 - mated_found
    if not mated_found or not impostors:
        return None
    genuine_sq, farthest = _genuine(photos)
    within = np.zeros(len(genuine_sq), np.int64)
    bins = np.zeros(len(BINS) - 1, np.int64)
    needed = stats.allowed_errors(laxest, impostors) + 1
    nearest_sq = np.zeros(0, np.float32)
    worst: list[tuple[float, int, int]] = []
    edges = BINS[1:-1].astype(np.float32)
    blocks: Iterable[tuple[int, FloatArray]] = impostor_blocks(vectors, people, block)
    if show_progress:
        blocks = track(blocks, "Comparing all pairs", total=math.ceil(len(rows) / block))
    for start, matrix in blocks:
        worst = _nearest_pairs(worst, matrix, rows[start:])
        distances = np.sort(matrix, axis=None)
        distances = distances[: np.searchsorted(distances, NO_PAIR)]
        within += np.searchsorted(distances, genuine_sq, side="right")
        bins += np.diff(np.searchsorted(distances, edges), prepend=0, append=len(distances))
        kept = np.concatenate([nearest_sq, distances[:needed]])
        nearest_sq = np.partition(kept, needed - 1)[:needed] if len(kept) > needed else kept
    every = np.bincount(photos.people)
    return Sweep(
        genuine_sq,
        impostors,
        within,
        np.sort(nearest_sq),
        np.histogram(genuine_sq, BINS)[0].astype(np.int64),
        bins,
        _one_of_each_two(worst, photos.people),
        farthest,
        int(np.sum(every * (every - 1) // 2)),
    )


def counts_at(photos: LabelledEmbeddings, thresholds_sq: Sequence[float]) -> tuple[list[int], int, list[int], int]:
    """Genuine pairs at or below each threshold, all genuine pairs, and the same of impostors; faces found only."""
    rows = np.flatnonzero(photos.found)
    genuine_sq, _ = _genuine(photos)
    false, total = np.zeros(len(thresholds_sq), np.int64), 0
    for _, matrix in impostor_blocks(photos.vectors[rows], photos.people[rows], BLOCK):
        false += [int(np.count_nonzero(matrix <= np.float32(limit))) for limit in thresholds_sq]
        total += int(np.count_nonzero(matrix < NO_PAIR))
    true = [int(np.searchsorted(genuine_sq, np.float32(limit), side="right")) for limit in thresholds_sq]
    return true, len(genuine_sq), false.tolist(), total


def squared(likeness: FloatArray) -> FloatArray:
    """From cosine similarity to squared distance, 0..4."""
    return np.clip(2 - 2 * likeness, 0, 4).astype(np.float32)


def impostor_blocks(vectors: FloatArray, people: NDArray[np.intp], block: int) -> Iterator[tuple[int, FloatArray]]:
    """Yield `start` and the distances of a block of rows from `start` to all rows from `start`.

    Every pair of two people occurs once; all other places contain NO_PAIR.
    """
    for start in range(0, len(vectors), block):
        some = vectors[start : start + block]
        matrix = squared(some @ vectors[start:].T)
        matrix[people[start : start + block, None] == people[None, start:]] = NO_PAIR
        matrix[:, : len(some)][np.tril_indices(len(some))] = NO_PAIR
        yield start, matrix


def _genuine(photos: LabelledEmbeddings) -> tuple[FloatArray, list[tuple[float, int, int]]]:
    """Sorted distances of pairs of one person, and the farthest pair of each of the worst people."""
    parts: list[FloatArray] = [np.zeros(0, np.float32)]
    farthest: list[tuple[float, int, int]] = []
    for own in photos.rows_of:
        rows = own[photos.found[own]]
        if len(rows) < 2:
            continue
        first, second = np.triu_indices(len(rows), 1)
        distances = squared(photos.vectors[rows] @ photos.vectors[rows].T)[first, second]
        far = int(distances.argmax())
        farthest.append((float(distances[far]), int(rows[first[far]]), int(rows[second[far]])))
        parts.append(distances)
    return np.sort(np.concatenate(parts)), sorted(farthest, key=lambda each: (-each[0], each[1]))[:WORST]


def _nearest_pairs(
    pairs: list[tuple[float, int, int]], matrix: FloatArray, rows: NDArray[np.intp]
) -> list[tuple[float, int, int]]:
    """The nearest of some sorted pairs and of a block whose first row and first column are the first of `rows`."""
    near = np.flatnonzero(matrix < (pairs[-1][0] if len(pairs) == _WORST_KEPT else NO_PAIR))
    distances = matrix.reshape(-1)[near]
    if len(near) > _WORST_KEPT:
        nearest = np.argpartition(distances, _WORST_KEPT)[:_WORST_KEPT]
        near, distances = near[nearest], distances[nearest]
    first, second = rows[near // matrix.shape[1]], rows[near % matrix.shape[1]]
    found = zip(distances.tolist(), first.tolist(), second.tolist(), strict=True)
    return sorted([*pairs, *found])[:_WORST_KEPT]


def _one_of_each_two(pairs: list[tuple[float, int, int]], people: NDArray[np.intp]) -> list[tuple[float, int, int]]:
    """The nearest pair of any two people, from sorted pairs; at most WORST."""
    seen: dict[frozenset[int], tuple[float, int, int]] = {}
    for pair in pairs:
        seen.setdefault(frozenset(people[[pair[1], pair[2]]].tolist()), pair)
    return list(seen.values())[:WORST]
