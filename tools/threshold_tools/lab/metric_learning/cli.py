"""Learn a linear head on the embedder's vectors, and find out whether it helps people it has never seen.

The people of a folder (DIR/<person>/*.jpg) or of vectors from `threshold embed` are split: five tenths to learn, two
to stop by, three to judge on. Losses: contrastive, triplet (random, hard, semi-hard mining) and ArcFace. Training
begins at the identity, which is no head, and is pulled back to it. The loss that does best on the validation people is
judged on the held-out ones, against no head: TAR over all pairs, EER, and FNIR with strangers.

--out writes the head only if it helps on every split, in some rate by more than chance and in none the other way;
otherwise nothing is written and the exit code is 1. A door has no stage for heads: the file is for analysis on the
desktop. --apply writes stored vectors behind it, which `threshold evaluate` can measure. As it is linear, it can be
multiplied into the embedder's last layer; that makes a new embedder, to be quantized, calibrated and enrolled again.

Training needs PyTorch: pip install 'threshold-edge[desktop,lab]'.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.errors import InputError
from threshold_tools.embeddings import load_or_embed
from threshold_tools.lab.metric_learning.head import apply_head_to_npz, save_head
from threshold_tools.lab.metric_learning.report import LOSSES, TrainingConfig, document, page
from threshold_tools.reports.page import write_page
from threshold_tools.reports.terminal import show


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and adapt; returns 1 if a head is asked for and none helps.

    Raises:
        InputError: something given cannot be used.
    """
    usual = TrainingConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, metavar="DIR_or_X.npz", help="one folder of photos for each person, or vectors"
    )
    parser.add_argument("--loss", choices=(*LOSSES, "all"), default="all", help="loss (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--splits", type=int, default=1, metavar="N", help="number of splits (default: 1)")
    parser.add_argument("--steps", type=int, default=usual.steps, help=f"batches at most (default: {usual.steps})")
    parser.add_argument("--rate", type=float, default=usual.rate, help=f"step size of Adam (default: {usual.rate:g})")
    parser.add_argument("--pull", type=float, default=usual.pull, help=f"to the identity (default: {usual.pull:g})")
    parser.add_argument("--out", type=Path, metavar="H", help="write the head (.safetensors), if it helps")
    parser.add_argument(
        "--html", type=Path, metavar="PAGE", help="write a page with the rates and plots of the training"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--apply", type=Path, metavar="H", help="do not train: write X.npz behind this head to --out")
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    if arguments.splits < 1 or arguments.steps < 1:
        parser.error("--splits and --steps must be 1 or more")
    if not (0 < arguments.rate < math.inf and 0 <= arguments.pull < math.inf):
        parser.error("--rate must be above 0, and --pull not negative")
    for path in (arguments.out, arguments.html):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    if arguments.apply is not None:
        if arguments.out is None:
            parser.error("--apply needs --out")
        count = apply_head_to_npz(arguments.apply, arguments.source, arguments.out)
        print(f"{arguments.out}: {count:,} vectors behind the head", file=sys.stderr)
        return 0
    # Imported here, because only training needs PyTorch.
    from threshold_tools.lab.metric_learning.comparison import adapt

    report, head = adapt(
        load_or_embed(arguments.source),
        str(arguments.source),
        losses=LOSSES if arguments.loss == "all" else (arguments.loss,),
        config=TrainingConfig(steps=arguments.steps, rate=arguments.rate, pull=arguments.pull),
        seed=arguments.seed,
        splits=arguments.splits,
    )
    if arguments.out is not None and report.helps and head is not None:
        save_head(arguments.out, head)
        report = msgspec.structs.replace(report, written=str(arguments.out))
        print(f"{arguments.out}: written; distances behind it need thresholds of their own", file=sys.stderr)
    if arguments.html is not None:
        write_page(arguments.html, page(report))
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        show(document(report))
    if arguments.out is not None and report.written is None:
        print(f"{arguments.out}: not written, because no head helps", file=sys.stderr)
        return 1
    return 0
