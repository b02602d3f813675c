#!/usr/bin/env python3
"""Measure recognition on people of your own, in the terms that standards use.

Of a folder of people (DIR/<person>/*.jpg) or of vectors from tools/embed.py:

  verification  are two photos of one person? In ten folds, the threshold chosen on the other nine; and over all pairs:
                TAR (1 - FNMR) at a given FMR, EER, DET
  closed-set    everybody is enrolled: is the nearest person the right one? By the door's classifier, the nearest
                centroid, and by others; and how many of them "unknown" would miss where it keeps strangers out
  open-set      strangers come, too: FNIR, the share of searches by enrolled people that are refused or named wrongly,
                where FPIR, the share of strangers' searches that are accepted, keeps to a wish

Photos without a face are failures to acquire: every rate is given without them and, in brackets, with them as errors.
Distances are squared Euclidean distances of unit vectors, 0 to 4: lower is nearer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from threshold_tools.embeddings import LabelledEmbeddings, load_or_embed
from threshold_tools.evaluate import open_set_identification, protocols, verification
from threshold_tools.evaluate.by_group import Limit, measure_group, read_groups
from threshold_tools.evaluate.closed_set_identification import CLOSED_PHOTOS, closed_set
from threshold_tools.evaluate.report import Report, show

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.files import atomic_write

PROTOCOLS = ("verification", "closed-set", "open-set")
GROUP_FMRS = (1e-3, 1e-4)
GROUP_IMAGES, GROUP_FPIR = 3, 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The report, and what its page draws from."""

    report: Report
    photos: LabelledEmbeddings
    swept: verification.Sweep | None


def evaluate(
    source: Path,
    *,
    wanted: Sequence[str] = PROTOCOLS,
    pairs_file: Path | None = None,
    groups_file: Path | None = None,
    seed: int = 0,
    keep: Path | None = None,
    times: bool = False,
) -> Evaluation:
    """Run the wanted protocols on a folder of people or on stored vectors; under a seed all but times is the same.

    Raises:
        InputError: something given cannot be used.
    """
    photos = load_or_embed(source, keep=keep)
    groups = read_groups(groups_file, photos) if groups_file else {}
    notes: list[str] = []
    ten_fold = swept = closed = None
    if "verification" in wanted:
        ten_fold = protocols.ten_fold(photos, pairs_file, seed)
        if ten_fold is None:
            notes.append("no folds: they take 20 people, 10 of them with two photos, or a pairs file")
        swept = verification.sweep(photos)
        if swept is None:
            notes.append("no pairs: they take two people with a face, one of them with two photos")
    if "closed-set" in wanted:
        named = closed_set(photos, seed, times=times)
        closed = protocols.closed_set(photos, named) if named else None
        if named is None:
            notes.append(f"no closed set: it takes two people with {CLOSED_PHOTOS} photos")
    tried: dict[int, open_set_identification.OpenSetRun] = {}
    for images in open_set_identification.ENROLLED if "open-set" in wanted else ():
        one = open_set_identification.open_set(photos, images, seed)
        if one is None:
            notes.append(
                f"no open set with {images} enrolled: it takes somebody with {images + 1} photos, and strangers"
            )
        else:
            tried[images] = one
    if groups_file:
        left = len(photos.names) - sum(len(people) for people in groups.values())
        if left:
            notes.append(f"{left:,} people are in no group")
    limits = (
        [Limit(fmr, swept.threshold_sq(fmr)) for fmr in GROUP_FMRS if swept.has_enough_samples(fmr)] if swept else []
    )
    report = Report(
        source=str(source),
        embedder_sha256=photos.embedder_sha256,
        seed=seed,
        acquisition=protocols.acquisition(photos),
        ten_fold=ten_fold,
        all_pairs=protocols.all_pairs(swept) if swept else None,
        closed_set=closed,
        open_set=[protocols.open_set(one, seed) for one in tried.values()],
        groups=[
            measure_group(photos, name, people, limits, tried.get(GROUP_IMAGES), GROUP_FPIR)
            for name, people in groups.items()
        ],
        notes=notes,
    )
    return Evaluation(report, photos, swept)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, metavar="DIR_or_X.npz", help="one folder of photos for each person, or vectors"
    )
    parser.add_argument("--protocol", choices=(*PROTOCOLS, "all"), default="all", help="what to measure (default: all)")
    parser.add_argument("--pairs", type=Path, metavar="P.txt", help="pairs in the format of LFW, instead of drawn ones")
    parser.add_argument("--groups", type=Path, metavar="G.csv", help="person,group: the same rates for each group")
    parser.add_argument("--times", action="store_true", help="measure how long each classifier of the closed set takes")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with plots, and the worst errors")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="for --html: the photos that stored vectors are of")
    parser.add_argument("--out-vectors", type=Path, metavar="X.npz", help="keep the vectors of a folder for next time")
    arguments = parser.parse_args(words)
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    wanted = PROTOCOLS if arguments.protocol == "all" else (arguments.protocol,)
    if arguments.times and "closed-set" not in wanted:
        parser.error("--times is for --protocol closed-set")
    if arguments.pairs and "verification" not in wanted:
        parser.error("--pairs is for --protocol verification")
    for path in (arguments.html, arguments.out_vectors):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise InputError(f"{arguments.photos}: no such folder")
    done = evaluate(
        arguments.source,
        wanted=wanted,
        pairs_file=arguments.pairs,
        groups_file=arguments.groups,
        seed=arguments.seed,
        keep=arguments.out_vectors,
        times=arguments.times,
    )
    if arguments.html is not None:
        folder = arguments.photos or (arguments.source if arguments.source.is_dir() else None)
        _write_page(arguments.html, done, folder)
    print(msgspec.json.encode(done.report).decode() if arguments.json else show(done.report))


def _write_page(path: Path, done: Evaluation, folder: Path | None) -> None:
    try:
        from threshold_tools.evaluate.page import page
    except ImportError as error:
        raise InputError("--html needs matplotlib; run: pip install -e '.[desktop]' in Threshold's folder") from error
    atomic_write(path, page(done.report, done.photos, done.swept, folder).encode(), private=True)
    print(f"{path}: written", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
