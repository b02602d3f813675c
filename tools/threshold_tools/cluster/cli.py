"""Group photos of unknown visitors by the person they seem to show.

The input is a folder of photos, or an .npz file of threshold embed. Methods:

    density   Photos within a squared distance of each other are one person (DBSCAN); a photo without a neighbour is
              ungrouped. The number of people is not needed. By default, the embedder's table expects one pair of
              strangers in a million within the distance.
    kmeans    k groups; each photo joins the group with the nearest centre. Without --k, the number comes from the
              density method, including ungrouped photos.

If folders name the people, the groups are scored: purity, and pairwise precision, recall and F. Distances are squared
Euclidean distances of unit vectors, 0 to 4: lower is nearer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.errors import InputError
from edge.core.files import require_parent_dir
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.cluster.clustering import METHODS, MIN_SAMPLES, cluster_photos
from threshold_tools.cluster.projector import export
from threshold_tools.cluster.report import contact_sheet, document
from threshold_tools.reports.page import write_page
from threshold_tools.reports.terminal import show


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, group the photos and write the requested files.

    Raises:
        InputError: an input cannot be used.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of photos, or .npz of vectors")
    parser.add_argument("--method", choices=METHODS, default="density", help="method (default: density)")
    parser.add_argument("--k", type=int, metavar="NUMBER", help="kmeans: number of groups")
    parser.add_argument(
        "--near-sq", type=float, metavar="DISTANCE", help="density: squared distance of neighbours, above 0, at most 4"
    )
    parser.add_argument(
        "--min-samples",
        type=int,
        default=MIN_SAMPLES,
        metavar="N",
        help=f"density: photos that make a group (default: {MIN_SAMPLES})",
    )
    parser.add_argument("--seed", type=int, default=0, help="kmeans: seed (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all groups and their photos")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with the pictures of each group")
    parser.add_argument("--projector", type=Path, metavar="FOLDER", help="write files for the projector of TensorBoard")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photos of stored vectors, for pictures")
    arguments = parser.parse_args(argv)
    _check(parser, arguments)
    done = cluster_photos(
        arguments.source,
        method=arguments.method,
        k=arguments.k,
        near_sq=arguments.near_sq,
        min_samples=arguments.min_samples,
        seed=arguments.seed,
    )
    folder = arguments.photos or (arguments.source if arguments.source.is_dir() else None)
    if arguments.html is not None:
        write_page(arguments.html, contact_sheet(done.report, folder))
    if arguments.projector is not None:
        export(arguments.projector, done.vectors, done.paths, done.names, folder)
        print(
            f"{arguments.projector}: written; show it with  tensorboard --logdir {arguments.projector}", file=sys.stderr
        )
    if arguments.json:
        print(msgspec.json.encode(done.report).decode())
    else:
        show(document(done.report))


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.k is not None and (arguments.method != "kmeans" or arguments.k < 1):
        parser.error("--k needs --method kmeans, and must be at least 1")
    if arguments.near_sq is not None and not 0 < arguments.near_sq <= MAX_DISTANCE_SQ:
        parser.error("--near-sq must be above 0 and at most 4")
    if arguments.min_samples < 1:
        parser.error("--min-samples must be at least 1")
    if not 0 <= arguments.seed < 2**32:
        parser.error("--seed must be 0 to 4294967295")
    for path in filter(None, (arguments.html, arguments.projector)):
        require_parent_dir(path)
    if arguments.projector is not None and arguments.projector.exists() and not arguments.projector.is_dir():
        raise InputError(f"{arguments.projector}: this is a file; --projector needs a folder")
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise InputError(f"{arguments.photos}: no such folder")
