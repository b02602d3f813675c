"""The command `threshold`: each desktop tool is a subcommand, imported when it is called.

The arguments go to the parser of the subcommand. Exit code 0: done; 1: something failed; 2: the command line or an
input cannot be used, or a package is missing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from edge import __version__
from edge.core.cli_support import run_main
from edge.core.errors import InputError

_OURS = ("edge", "threshold_tools")


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One desktop tool.

    Attributes:
        module: module of the function.
        extra: required extra of the package, as in `threshold-edge[desktop]`.
        purpose: one sentence for `--help`.
        function: takes the arguments and returns an exit code or None.
    """

    module: str
    extra: str
    purpose: str
    function: str = "main"


SUBCOMMANDS = {
    "enroll": Subcommand("threshold_tools.enroll.cli", "desktop", "Make a gallery from a folder of photos."),
    "calibrate": Subcommand("threshold_tools.calibrate.cli", "desktop", "Set a gallery's thresholds from strangers."),
    "embed": Subcommand("threshold_tools.embed", "desktop", "Compute the vectors of all photos of a folder."),
    "evaluate": Subcommand("threshold_tools.evaluate.cli", "desktop", "Measure error rates on your own people."),
    "explain": Subcommand("threshold_tools.explain.cli", "desktop", "Explain why a face is or is not recognised."),
    "cluster": Subcommand("threshold_tools.cluster.cli", "desktop", "Group photos of unknown people."),
    "sync": Subcommand("threshold_tools.release.cli", "desktop", "Sign and publish galleries and access rules."),
    "push": Subcommand("threshold_tools.release.cli", "desktop", "Sign and publish models.", "push"),
    "monitor": Subcommand("threshold_tools.monitor.cli", "monitor", "Show all doors on a web page."),
    "pad": Subcommand("threshold_tools.pad.cli", "desktop", "Measure which attacks liveness detects."),
    "lab": Subcommand("threshold_tools.lab.cli", "lab", "Run experiments on your own faces."),
    "quantize": Subcommand("threshold_tools.quantize.cli", "desktop", "Make the int8 models from the float originals."),
}


def main() -> None:
    """Entry point of the console script."""
    run_main(lambda: _dispatch(sys.argv[1:]))


def run(name: str, *words: str) -> None:
    """Run one subcommand and exit; used by the scripts in tools/.

    Args:
        name: name of the subcommand.
        words: arguments before those of the command line, such as a nested subcommand.
    """
    run_main(lambda: _call(SUBCOMMANDS[name], [*words, *sys.argv[1:]]))


def _dispatch(words: Sequence[str]) -> int | None:
    if words and words[0] in SUBCOMMANDS:
        sys.argv = [f"threshold {words[0]}", *words[1:]]  # name of the program in the usage line
        return _call(SUBCOMMANDS[words[0]], words[1:])
    parser = argparse.ArgumentParser(
        prog="threshold",
        description="Desktop tools of face recognition at the door.",
        epilog="threshold COMMAND --help explains a command. Distances are squared Euclidean distances between unit "
        "embeddings, 0 to 4: lower is nearer, and a lower threshold is stricter.",
    )
    parser.add_argument("--version", action="version", version=f"threshold-edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, subcommand in SUBCOMMANDS.items():
        commands.add_parser(name, help=subcommand.purpose)
    parser.parse_args(words)
    return None


def _call(subcommand: Subcommand, words: Sequence[str]) -> int | None:
    """Import a subcommand and run it.

    Raises:
        InputError: a package is missing.
    """
    try:
        code: int | None = getattr(importlib.import_module(subcommand.module), subcommand.function)(words)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            raise
        raise InputError(
            f"the package {package} is missing; run: pip install 'threshold-edge[{subcommand.extra}]'"
        ) from error
    return code


if __name__ == "__main__":
    main()
