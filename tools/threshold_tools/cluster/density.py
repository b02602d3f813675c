"""By density: photos in company are one cluster with all in reach; photos without company stay alone.

DBSCAN, Ester et al. 1996, "A density-based algorithm for discovering clusters". Distances are computed a block of rows
at a time, twice, so that memory grows with the number of photos and not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from edge.core.records import FloatArray

_BLOCK = 512


def density(vectors: FloatArray, near_sq: float, min_samples: int, *, quiet: bool = False) -> NDArray[np.intp]:
    """The cluster of each of (N, D) float32 unit vectors, 0 and up, one of its own for each that is alone.

    Args:
        vectors: what to group.
        near_sq: squared distance within which two are near each other.
        least: so many near each other, oneself included, are company: a cluster's core.
        quiet: show no progress.

    Returns:
        (N,) where a vector that is near a core, and none itself, goes with the nearest core.
    """
    core = np.zeros(len(vectors), bool)
    with tqdm(total=2 * len(vectors), desc="density", unit=" photos", disable=quiet or None) as bar:
        for rows, likeness in _blocks(vectors):
            core[rows] = (likeness >= 1 - near_sq / 2).sum(axis=1) >= min_samples
            bar.update(len(likeness))
        labels: NDArray[np.intp] = np.arange(len(vectors))
        edge_of = np.full(len(vectors), -1, np.intp)  # for what is no core, the nearest core in reach
        for rows, likeness in _blocks(vectors):
            near = (likeness >= 1 - near_sq / 2) & core
            ends = np.nonzero(near & core[rows, None])
            labels = _joined(labels, labels[rows][ends[0]], labels[ends[1]])
            lonely = np.flatnonzero(near.any(axis=1) & ~core[rows])
            edge_of[rows.start + lonely] = np.where(near[lonely], likeness[lonely], -2).argmax(axis=1)
            bar.update(len(likeness))
    edge = edge_of >= 0
    labels[edge] = labels[edge_of[edge]]
    return np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.intp)


def _blocks(vectors: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Some rows, and the cosines of each of them to all; to itself 1 and no less, whatever the rounding."""
    for start in range(0, len(vectors), _BLOCK):
        likeness = vectors[start : start + _BLOCK] @ vectors.T
        np.fill_diagonal(likeness[:, start:], 1)
        yield slice(start, start + len(likeness)), likeness


def _joined(labels: NDArray[np.intp], one: NDArray[np.intp], two: NDArray[np.intp]) -> NDArray[np.intp]:
    """Labels (N,), each below N, after the clusters `one` (E,) were joined with `two` (E,)."""
    size = len(labels)
    links = np.unique(one * size + two)
    graph = coo_array((np.ones(len(links), bool), (links // size, links % size)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)[labels]
