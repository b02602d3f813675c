"""The `edge` command; each module of `edge.cli` adds one subcommand, `maintenance` several.

Results go to standard output, everything else to standard error. Exit code 0: done; 1: something failed; 2: the
command line, the configuration or an input file cannot be used.
"""

from __future__ import annotations

import argparse
import logging
import os

from edge import __version__
from edge.cli import bench, check, demo, events, maintenance, replay, run, setup
from edge.core.cli_support import PrintableFormatter
from edge.core.cli_support import run_main as run_program
from edge.runtime.journal import JournalHandler, stream_is_journal

_COMMANDS = (setup, run, replay, demo, check, maintenance, bench, events)


def main() -> None:
    """The entry point of the console script."""
    # Products this small lose by threads, and these would take the models' cores; read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run_program(_main)


def _main() -> int:
    arguments = _parser().parse_args()
    _log(arguments.verbose)
    code: int = arguments.command(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Face recognition at the door: camera frames in, access events over MQTT out.",
        epilog="Distances are squared Euclidean distances between unit embeddings, 0 to 4: lower is nearer, and a "
        "lower threshold is stricter. Exit codes: 0 done, 1 failed, 2 unusable command line, configuration or input.",
    )
    parser.add_argument("--version", action="version", version=f"threshold-edge {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log repeats and details, too")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _log(verbose: bool) -> None:
    """To the journal with fields where standard error leads there, otherwise as lines to standard error."""
    to_journal = stream_is_journal()
    handler = JournalHandler() if to_journal else logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s" if to_journal else "%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbose else logging.INFO)


if __name__ == "__main__":
    main()
