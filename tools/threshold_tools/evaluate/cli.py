"""Measure error rates of recognition on your own people, in the terms of the standards.

The input is a folder with one folder of photos for each person, or an .npz file of threshold embed. Protocols:

    verification  Do two photos show one person? In ten folds, with the threshold chosen on the other nine, and over all
                  pairs: TAR (1 - FNMR) at a given FMR, EER and DET.
    closed-set    Every visitor is enrolled: is the nearest person the right one? Measured for the classifier of a door,
                  the nearest centroid, and for others; also with a limit that rejects strangers.
    open-set      Strangers search, too. FNIR is the share of searches by enrolled people that are rejected or named
                  wrongly; FPIR is the share of strangers' searches that are accepted, and is kept to a target.

The report begins with the recommended threshold. Photos without a face are failures to acquire: rates are given
without them, and with them as errors. They cannot be false matches, so they never make a threshold laxer. Distances are
squared Euclidean distances of unit vectors, 0 to 4: lower is nearer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge.core.cli_support import counted
from edge.core.errors import InputError
from edge.core.files import require_parent_dir
from threshold_tools.embeddings import LabelledEmbeddings, load_or_embed
from threshold_tools.evaluate import open_set_identification, verification
from threshold_tools.evaluate.by_group import measure_group, read_groups
from threshold_tools.evaluate.closed_set_identification import CLOSED_PHOTOS, SPLITS, closed_set
from threshold_tools.evaluate.cross_validation import ten_fold
from threshold_tools.evaluate.report import Acquisition, EvaluationReport
from threshold_tools.evaluate.tables import document
from threshold_tools.reports.terminal import show

PROTOCOLS = ("verification", "closed-set", "open-set")
GROUP_FMRS = (1e-3, 1e-4)
GROUP_IMAGES, GROUP_FPIR = 3, 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The report, and the data of its plots."""

    report: EvaluationReport
    photos: LabelledEmbeddings
    swept: verification.Sweep | None


def evaluate(
    source: Path,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    pairs_file: Path | None = None,
    groups_file: Path | None = None,
    seed: int = 0,
    keep: Path | None = None,
    splits: int = SPLITS,
    times: bool = False,
) -> Evaluation:
    """Run protocols on a folder of people or on stored embeddings; all results but times depend only on the seed.

    Raises:
        InputError: an input cannot be used.
    """
    photos = load_or_embed(source, keep=keep)
    groups = read_groups(groups_file, photos) if groups_file else {}
    notes: list[str] = []
    folds = swept = closed = None
    if "verification" in protocols:
        folds = ten_fold(photos, pairs_file, seed)
        if folds is None:
            notes.append("no folds: needs 20 people, 10 of them with two photos, or a pairs file")
        swept = verification.sweep(photos, show_progress=True)
        if swept is None:
            notes.append("no pairs: needs two people with a face, one of them with two photos")
    if "closed-set" in protocols:
        closed = closed_set(photos, seed, splits=splits, times=times)
        if closed is None:
            notes.append(f"no closed set: needs two people with {CLOSED_PHOTOS} photos")
    tried: dict[int, open_set_identification.OpenSetRun] = {}
    for images in open_set_identification.ENROLLED if "open-set" in protocols else ():
        if run := open_set_identification.open_set(photos, images, seed):
            tried[images] = run
        else:
            notes.append(f"no open set with {images} enrolled: needs a person with {images + 1} photos, and strangers")
    left = len(photos.names) - sum(len(people) for people in groups.values())
    if groups_file and left:
        notes.append(f"{counted(left, 'person is', 'people are')} in no group")
    thresholds_sq = (
        {fmr: swept.threshold_sq(fmr) for fmr in GROUP_FMRS if swept.has_enough_samples(fmr)} if swept else {}
    )
    failed = [photos.paths[row] for row in np.flatnonzero(~photos.found).tolist()]
    faceless = len(photos.names) - len(np.unique(photos.people[photos.found]))
    report = EvaluationReport(
        source=str(source),
        embedder_sha256=photos.embedder_sha256,
        seed=seed,
        acquisition=Acquisition(
            len(photos), len(failed), len(failed) / len(photos), len(photos.names), faceless, failed
        ),
        ten_fold=folds,
        all_pairs=swept.result() if swept else None,
        closed_set=closed,
        open_set=[open_set_identification.report(run, seed) for run in tried.values()],
        groups=[
            measure_group(photos, name, people, thresholds_sq, tried.get(GROUP_IMAGES), GROUP_FPIR)
            for name, people in groups.items()
        ],
        notes=notes,
    )
    return Evaluation(report, photos, swept)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder with one folder of photos for each person, or .npz of embeddings",
    )
    parser.add_argument("--protocol", choices=(*PROTOCOLS, "all"), default="all", help="what to measure (default: all)")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="pairs in the format of LFW (default: drawn)")
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV file with person,group: rates of each group")
    parser.add_argument(
        "--splits", type=int, default=SPLITS, metavar="N", help=f"splits of the closed set (default: {SPLITS})"
    )
    parser.add_argument("--times", action="store_true", help="measure how long each classifier of the closed set takes")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with plots and the worst errors")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photos of stored embeddings, for --html")
    parser.add_argument("--out-vectors", type=Path, metavar="FILE", help="store the embeddings of the folder (.npz)")
    arguments = parser.parse_args(argv)
    if arguments.seed < 0 or arguments.splits < 1:
        parser.error("--seed must not be negative, and --splits must be at least 1")
    protocols = PROTOCOLS if arguments.protocol == "all" else (arguments.protocol,)
    if arguments.times and "closed-set" not in protocols:
        parser.error("--times needs --protocol closed-set or all")
    if arguments.pairs and "verification" not in protocols:
        parser.error("--pairs needs --protocol verification or all")
    for path in filter(None, (arguments.html, arguments.out_vectors)):
        require_parent_dir(path)
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise InputError(f"{arguments.photos}: no such folder")
    done = evaluate(
        arguments.source,
        protocols=protocols,
        pairs_file=arguments.pairs,
        groups_file=arguments.groups,
        seed=arguments.seed,
        keep=arguments.out_vectors,
        splits=arguments.splits,
        times=arguments.times,
    )
    if arguments.html is not None:
        from threshold_tools.evaluate.page import page  # needs jinja2
        from threshold_tools.reports.page import write_page

        folder = arguments.photos or (arguments.source if arguments.source.is_dir() else None)
        write_page(arguments.html, page(done.report, done.photos, done.swept, folder))
    if arguments.json:
        print(msgspec.json.encode(done.report).decode())
    else:
        show(document(done.report))
