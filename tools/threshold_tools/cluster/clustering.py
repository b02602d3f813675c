"""Groups unit vectors of faces by density (DBSCAN) or k-means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

from edge.core.errors import InputError
from edge.core.records import FloatArray
from edge.vision.manifest import default_folder, read_manifest
from threshold_tools.cluster.report import ClusterReport, ClusterScore, person_of
from threshold_tools.embeddings import LabelledEmbeddings, embed_photos, load_embeddings
from threshold_tools.reports.terminal import progress
from threshold_tools.thresholds import threshold_for_fmr

NEAR_FMR = 1e-6
MIN_SAMPLES = 2  # 3 to 5 lowered recall on development data and hardly changed purity
METHODS = ("density", "kmeans")


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """The report, and the photos with a face."""

    report: ClusterReport
    vectors: FloatArray  # (N, D) float32 unit rows
    paths: list[str]  # N photos
    names: list[str]  # N names of clusters, numbered from 1, largest first; "alone" for ungrouped photos


def cluster_photos(
    source: Path,
    *,
    method: str = "density",
    k: int | None = None,
    near_sq: float | None = None,
    min_samples: int = MIN_SAMPLES,
    seed: int = 0,
) -> Clustering:
    """Group the photos of a folder, or stored vectors.

    Args:
        source: folder of photos, or .npz of vectors.
        method: one of `METHODS`.
        k: number of clusters of k-means; None for as many as the density method finds.
        near_sq: squared distance of the density method; None for the one at `NEAR_FMR` in the embedder's table.
        min_samples: photos within `near_sq`, including the photo itself, that make a cluster.
        seed: seed of k-means.

    Raises:
        InputError: an input cannot be used.
    """
    stored = embed_photos(source) if source.is_dir() else load_embeddings(source)
    rows = np.flatnonzero(stored.found)
    if not len(rows):
        raise InputError(f"{source}: no face found in {len(stored.paths)} photos; check that the folder contains faces")
    vectors, paths = stored.vectors[rows], [stored.paths[row] for row in rows.tolist()]
    if k is not None and k > len(rows):
        raise InputError(f"--k {k:,}: {source} has only {len(rows):,} photos with a face")
    with progress(None, "Grouping photos"):
        if k is None:
            near_sq = _near_sq(stored, source) if near_sq is None else near_sq
            labels = density(vectors, near_sq, min_samples)
        if method == "kmeans":
            k = int(labels.max()) + 1 if k is None else k
            labels = kmeans(vectors, k, seed)
    clusters, alone, names = _by_size(labels, paths)
    people = [person_of(path) for path in paths]
    report = ClusterReport(
        source=str(source),
        embedder_sha256=stored.embedder_sha256,
        method=method,
        seed=seed,
        near_sq=near_sq if method == "density" else None,
        min_samples=min_samples if method == "density" else None,
        k=k,
        photos=len(stored.paths),
        without_face=[stored.paths[row] for row in np.flatnonzero(~stored.found).tolist()],
        clusters=clusters,
        alone=alone,
        score=score(labels, people) if all(people) else None,
    )
    return Clustering(report, vectors, paths, names)


def density(vectors: FloatArray, near_sq: float, min_samples: int) -> NDArray[np.intp]:
    """Cluster (N, D) unit vectors by DBSCAN: `min_samples` vectors within `near_sq`, itself included, make a core.

    Returns:
        (N,) numbers of clusters from 0; an ungrouped vector has its own number.
    """
    labels = DBSCAN(eps=math.sqrt(near_sq), min_samples=min_samples, algorithm="brute").fit_predict(vectors)
    alone = labels < 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    return np.asarray(labels, np.intp)


def kmeans(vectors: FloatArray, k: int, seed: int) -> NDArray[np.intp]:
    """Number (N,) of the cluster of each of (N, D) unit vectors; fewer than `k` clusters if vectors are equal."""
    distinct = len(np.unique(vectors, axis=0))
    return np.asarray(KMeans(min(k, distinct), random_state=seed).fit_predict(vectors), np.intp)


def score(labels: NDArray[np.intp], people: list[str]) -> ClusterScore:
    """Compare clusters (N,) with the people whom the folders name."""
    table = contingency_matrix(people, labels, sparse=True)
    sizes, most = np.asarray(table.sum(axis=0)).reshape(-1), table.max(axis=0).toarray().reshape(-1)
    several = sizes > 1
    (_, wrong), (missed, true) = pair_confusion_matrix(people, labels).tolist()
    precision = true / (true + wrong) if true + wrong else 1.0
    recall = true / (true + missed) if true + missed else 1.0
    return ClusterScore(
        people=table.shape[0],
        purity=float(most.sum() / len(labels)),
        purity_in_company=float(most[several].sum() / sizes[several].sum()) if several.any() else None,
        precision=precision,
        recall=recall,
        f=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    )


def _near_sq(stored: LabelledEmbeddings, source: Path) -> float:
    embedder = read_manifest(default_folder()).models["embedder"]
    if stored.embedder_sha256 != embedder.sha256:
        raise InputError(
            f"{source}: made by another embedder ({stored.embedder_sha256[:12]} instead of {embedder.sha256[:12]}), "
            "whose distances are unknown; give --near-sq"
        )
    return threshold_for_fmr(embedder.impostors, NEAR_FMR)


def _by_size(labels: NDArray[np.intp], paths: list[str]) -> tuple[list[list[str]], list[str], list[str]]:
    """Clusters of two or more, largest first; ungrouped photos; and the name of each photo's cluster."""
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), int(group[0])))
    names = ["alone"] * len(paths)
    for number, group in enumerate(groups, 1):
        for row in group.tolist():
            names[row] = str(number)
    clusters = [[paths[row] for row in group.tolist()] for group in groups]
    return clusters, [path for path, name in zip(paths, names, strict=True) if name == "alone"], names
