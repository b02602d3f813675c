"""Train a linear head on the vectors of the embedder, and measure whether it helps on people not used in training.

The people of a folder, or of an .npz file of `threshold embed`, are split: five tenths for training, two for stopping,
three for the measurement. Losses: contrastive, triplet (random, hard, semi-hard mining) and ArcFace. Training begins at
the identity, which is no head, and is regularised towards it. The loss with the best result on the validation people is
measured on the held-out people and compared with no head: TAR over all pairs, EER, and FNIR with strangers.

--out writes the head only if it helps on every split: at least one rate improves significantly, and none gets
significantly worse. Otherwise no file is written and the exit code is 1. A door has no stage for heads: the file is for
analysis on the desktop. --apply writes stored vectors behind the head, for `threshold evaluate`. Because the head is
linear, it can be multiplied into the last layer of the embedder. The result is a new embedder, which must be quantized,
and people must be calibrated and enrolled again.

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
    """Parse the command line and train; return 1 if a head is requested and none helps.

    Raises:
        InputError: an input cannot be used.
    """
    usual = TrainingConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder with one folder of photos for each person, or .npz of vectors",
    )
    parser.add_argument("--loss", choices=(*LOSSES, "all"), default="all", help="loss (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    parser.add_argument("--splits", type=int, default=1, metavar="N", help="number of splits (default: 1)")
    parser.add_argument(
        "--steps", type=int, default=usual.steps, help=f"largest number of batches (default: {usual.steps})"
    )
    parser.add_argument("--rate", type=float, default=usual.rate, help=f"step size of Adam (default: {usual.rate:g})")
    parser.add_argument(
        "--pull", type=float, default=usual.pull, help=f"regularisation towards the identity (default: {usual.pull:g})"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the head (.safetensors) if it helps")
    parser.add_argument(
        "--html", type=Path, metavar="PAGE", help="write a page with the rates and plots of the training"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument(
        "--apply", type=Path, metavar="FILE", help="do not train: write the vectors of SOURCE behind this head to --out"
    )
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    if arguments.splits < 1 or arguments.steps < 1:
        parser.error("--splits and --steps must be at least 1")
    if not (0 < arguments.rate < math.inf and 0 <= arguments.pull < math.inf):
        parser.error("--rate must be above 0, and --pull must not be negative")
    for path in (arguments.out, arguments.html):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    if arguments.apply is not None:
        if arguments.out is None:
            parser.error("--apply needs --out")
        count = apply_head_to_npz(arguments.apply, arguments.source, arguments.out)
        print(f"{arguments.out}: {count:,} vectors behind the head", file=sys.stderr)
        return 0
    # imported here: only training needs PyTorch
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
        print(f"{arguments.out}: head written; calibrate new thresholds for it", file=sys.stderr)
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
