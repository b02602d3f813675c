#!/usr/bin/env python3
"""Group photos of unknown visitors by whom they seem to show.

Of a folder of photos, or of vectors from tools/embed.py. Two methods:

  density   photos within a squared distance of each other are one person, and whoever is near nobody stays alone;
            nobody needs to know how many people there are (DBSCAN). The distance is the one below which the
            embedder's table expects one pair of strangers in a million.
  kmeans    so many clusters that every photo is near the middle of its own; without --k as many as the density
            method finds, those alone included

Where folders name the people (DIR/<person>/*.jpg), the clusters are scored: purity, and pairwise precision, recall and
F. Distances are squared Euclidean distances of unit vectors, 0 to 4: lower is nearer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from threshold_tools.cluster.contact_sheet import sheet
from threshold_tools.cluster.density import density
from threshold_tools.cluster.kmeans import kmeans
from threshold_tools.cluster.projector import export
from threshold_tools.cluster.report import Report, person_of, show
from threshold_tools.cluster.score import score
from threshold_tools.embeddings import Vectors, embed_photos, read_vectors
from threshold_tools.thresholds import FARTHEST_SQ, threshold_for_fmr

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from edge.vision.manifest import default_folder, read_manifest

NEAR_FMR = 1e-6
LEAST = 2  # 3 to 5 lost recall on development data, and gained next to nothing in purity
METHODS = ("density", "kmeans")


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """The report, and the photos with a face.

    Attributes:
        vectors: (N, D) float32 unit rows.
        paths: N photos.
        names: N names of clusters, numbered from 1, the largest first; "alone" of those that are.
    """

    report: Report
    vectors: FloatArray
    paths: list[str]
    names: list[str]


def cluster(
    source: Path,
    *,
    method: str = "density",
    k: int | None = None,
    near_sq: float | None = None,
    least: int = LEAST,
    seed: int = 0,
) -> Grouping:
    """Group the photos of a folder, or of stored vectors.

    Raises:
        InputError: something given cannot be used.
    """
    stored = embed_photos(source) if source.is_dir() else read_vectors(source)
    rows = np.flatnonzero(stored.found)
    if not len(rows):
        raise InputError(f"{source}: not one face in {len(stored.paths)} photos; there is nothing to group")
    vectors, paths = stored.embedding[rows], [stored.paths[row] for row in rows.tolist()]
    if k is not None and k > len(rows):
        raise InputError(f"--k {k:,}: {source} has only {len(rows):,} photos with a face")
    if k is None:
        near_sq = _near_sq(stored, source) if near_sq is None else near_sq
        labels = density(vectors, near_sq, least)
    if method == "kmeans":
        k = int(labels.max()) + 1 if k is None else k
        labels = kmeans(vectors, k, seed)
    clusters, alone, names = _listed(labels, paths)
    people = np.unique([person_of(path) for path in paths], return_inverse=True)[1].reshape(-1)
    named = all(person_of(path) for path in paths)
    report = Report(
        source=str(source),
        embedder_sha256=stored.embedder_sha256,
        method=method,
        seed=seed,
        near_sq=near_sq if method == "density" else None,
        least=least if method == "density" else None,
        k=k,
        photos=len(stored.paths),
        without_face=[stored.paths[row] for row in np.flatnonzero(~stored.found).tolist()],
        clusters=clusters,
        alone=alone,
        score=score(labels, people.astype(np.intp)) if named else None,
    )
    return Grouping(report, vectors, paths, names)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR_or_X.npz", help="a folder of photos, or vectors")
    parser.add_argument("--method", choices=METHODS, default="density", help="how (default: density)")
    parser.add_argument("--k", type=int, metavar="K", help="of kmeans: so many clusters")
    parser.add_argument(
        "--near-sq", type=float, metavar="D", help="of density: near within this squared distance, above 0 to 4"
    )
    parser.add_argument(
        "--least", type=int, default=LEAST, metavar="N", help=f"of density: so many are company (default: {LEAST})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of k-means (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, all clusters with their photos")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a picture sheet of the clusters")
    parser.add_argument("--projector", type=Path, metavar="DIR", help="write files for TensorBoard's projector")
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="the photos that stored vectors are of, for pictures"
    )
    arguments = parser.parse_args(words)
    _check(parser, arguments)
    done = cluster(
        arguments.source,
        method=arguments.method,
        k=arguments.k,
        near_sq=arguments.near_sq,
        least=arguments.least,
        seed=arguments.seed,
    )
    folder = arguments.photos or (arguments.source if arguments.source.is_dir() else None)
    if arguments.html is not None:
        atomic_write(arguments.html, sheet(done.report, folder).encode(), private=True)
        print(f"{arguments.html}: written", file=sys.stderr)
    if arguments.projector is not None:
        export(arguments.projector, done.vectors, done.paths, done.names, folder)
        print(
            f"{arguments.projector}: written; show it with  tensorboard --logdir {arguments.projector}", file=sys.stderr
        )
    print(msgspec.json.encode(done.report).decode() if arguments.json else show(done.report))


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.k is not None and (arguments.method != "kmeans" or arguments.k < 1):
        parser.error("--k is for --method kmeans, 1 or more")
    if arguments.near_sq is not None and not 0 < arguments.near_sq <= FARTHEST_SQ:
        parser.error("--near-sq must be above 0, and 4 at most")
    if arguments.least < 1:
        parser.error("--least must be 1 or more")
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    for path in (arguments.html, arguments.projector):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    if arguments.projector is not None and arguments.projector.exists() and not arguments.projector.is_dir():
        raise InputError(f"{arguments.projector}: is a file; --projector wants a folder")
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise InputError(f"{arguments.photos}: no such folder")


def _near_sq(stored: Vectors, source: Path) -> float:
    embedder = read_manifest(default_folder()).models["embedder"]
    if stored.embedder_sha256 != embedder.sha256:
        raise InputError(
            f"{source}: made by another embedder ({stored.embedder_sha256[:12]}, this one is {embedder.sha256[:12]}), "
            "whose distances are unknown; give --near-sq"
        )
    return threshold_for_fmr(embedder.impostors, NEAR_FMR)


def _listed(labels: NDArray[np.intp], paths: list[str]) -> tuple[list[list[str]], list[str], list[str]]:
    """Clusters of two or more, the largest first; those alone; and for each photo the name of its cluster."""
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), int(group[0])))
    names = ["alone"] * len(paths)
    for number, group in enumerate(groups, 1):
        for row in group.tolist():
            names[row] = str(number)
    clusters = [[paths[row] for row in group.tolist()] for group in groups]
    return clusters, [path for path, name in zip(paths, names, strict=True) if name == "alone"], names


if __name__ == "__main__":
    run_main(main)
