"""Run experiments on your own faces."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

_EXPERIMENTS = {
    "adapt": (
        "threshold_tools.lab.metric_learning.cli",
        "train a linear head on embeddings, and measure whether it helps",
    ),
    "track-fusion": ("threshold_tools.lab.fusion.cli", "measure the value of the samples of a track"),
}


def main(words: Sequence[str] | None = None) -> int | None:
    """Run an experiment with the rest of the command line, or list the experiments."""
    words = sys.argv[1:] if words is None else words
    if words and words[0] in _EXPERIMENTS:
        if sys.argv[0].startswith("threshold "):  # the parser of the experiment uses this name
            sys.argv[0] += f" {words[0]}"
        code: int | None = importlib.import_module(_EXPERIMENTS[words[0]][0]).main(words[1:])
        return code
    parser = argparse.ArgumentParser(description=__doc__)
    experiments = parser.add_subparsers(required=True, metavar="EXPERIMENT")
    for name, (_, purpose) in _EXPERIMENTS.items():
        experiments.add_parser(name, help=purpose)
    parser.parse_args(words)
    return None
