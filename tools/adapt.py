#!/usr/bin/env python3
"""Learn a linear head on the embedder's vectors, and find out whether it helps people it has never seen.

Of a folder of people (DIR/<person>/*.jpg) or of vectors from tools/embed.py, the people are split: five tenths to learn
from, two to stop by, three to judge on. Losses: contrastive, triplet (random, hard, semi-hard mining) and one like
ArcFace. Training begins at the identity, which is no head, and is pulled back to it. The loss that does best on the
validation people is judged on the held-out ones, against no head: TAR over all pairs, EER, and FNIR with strangers.

--out writes the head only if it helps there, in some rate by more than chance and in none the other way, on every
split; otherwise nothing is written and the exit code is 1. A door has no stage for heads: the file is for analysis on
the desktop. --apply puts stored vectors behind it, which tools/evaluate.py then measures. As it is linear, it could be
multiplied into the embedder's last layer; that makes a new embedder, to be quantized, calibrated and enrolled anew.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings, load_or_embed, save_embeddings
from threshold_tools.lab.metric_learning.comparison import adapt
from threshold_tools.lab.metric_learning.head import project, read_head, save_head
from threshold_tools.lab.metric_learning.losses_registry import LOSSES
from threshold_tools.lab.metric_learning.report import Part, show
from threshold_tools.lab.metric_learning.training import Course

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.files import atomic_write


def put_behind(head_file: Path, source: Path, out: Path) -> None:
    """Write the vectors of an .npz behind a head; they belong to the pair of embedder and head, and to no gallery.

    Raises:
        InputError: either cannot be read, or they do not belong together.
    """
    head, vectors = read_head(head_file), load_embeddings(source)
    if vectors.embedder_sha256 != head.origin.embedder_sha256 or vectors.vectors.shape[1] != len(head.matrix):
        raise InputError(
            f"{source}: of embedder {vectors.embedder_sha256[:12]}, but {head_file} was learnt on "
            f"{head.origin.embedder_sha256[:12]}; embed the photos with that one"
        )
    moved = project(head.matrix, vectors.vectors)
    save_embeddings(out, LabelledEmbeddings(moved, vectors.found, vectors.paths, head.vectors_sha256))
    print(f"{out}: {int(vectors.found.sum()):,} vectors behind the head", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line and adapt."""
    usual = Course()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, metavar="DIR_or_X.npz", help="one folder of photos for each person, or vectors"
    )
    parser.add_argument("--loss", choices=(*LOSSES, "all"), default="all", help="what to train for (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--splits", type=int, default=1, metavar="N", help="of the people, each anew (default: 1)")
    parser.add_argument("--steps", type=int, default=usual.steps, help=f"batches at most (default: {usual.steps})")
    parser.add_argument("--rate", type=float, default=usual.rate, help=f"step size of Adam (default: {usual.rate:g})")
    parser.add_argument("--pull", type=float, default=usual.pull, help=f"to the identity (default: {usual.pull:g})")
    parser.add_argument("--out", type=Path, metavar="H", help="write the head (.safetensors), if it helps")
    parser.add_argument("--plot", type=Path, metavar="P.png", help="draw how training went")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--apply", type=Path, metavar="H", help="do not train: write X.npz behind this head to --out")
    arguments = parser.parse_args(words)
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    if arguments.splits < 1 or arguments.steps < 1:
        parser.error("--splits and --steps must be 1 or more")
    if not (0 < arguments.rate < math.inf and 0 <= arguments.pull < math.inf):
        parser.error("--rate must be above 0, and --pull not negative")
    for path in (arguments.out, arguments.plot):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    if arguments.apply is not None:
        if arguments.out is None:
            parser.error("--apply needs --out")
        put_behind(arguments.apply, arguments.source, arguments.out)
        return 0
    done = adapt(
        load_or_embed(arguments.source),
        str(arguments.source),
        losses=tuple(LOSSES) if arguments.loss == "all" else (arguments.loss,),
        course=Course(steps=arguments.steps, rate=arguments.rate, pull=arguments.pull),
        seed=arguments.seed,
        splits=arguments.splits,
    )
    report = done.report
    if arguments.plot is not None:
        _plot(arguments.plot, report.splits)
    if arguments.out is not None and report.helps and done.head is not None:
        save_head(arguments.out, done.head)
        report = msgspec.structs.replace(report, written=str(arguments.out))
        print(f"{arguments.out}: written; distances behind it need thresholds of their own", file=sys.stderr)
    print(msgspec.json.encode(report).decode() if arguments.json else show(report))
    if arguments.out is not None and report.written is None:
        print(f"{arguments.out}: not written, because no head helps", file=sys.stderr)
        return 1
    return 0


def _plot(path: Path, parts: Sequence[Part]) -> None:
    from threshold_tools.lab.metric_learning.plot import draw

    atomic_write(path, draw(parts))
    print(f"{path}: written", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
