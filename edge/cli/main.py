"""The `edge` command; each module of `edge.cli` adds one subcommand, `maintenance` several.

Results go to standard output, everything else to standard error. Exit codes: 0 success, 1 failure, 2 unusable command
line, configuration or input file.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

from edge import __version__
from edge.cli import bench, check, demo, events, maintenance, replay, run, setup
from edge.core.cli_support import PrintableFormatter
from edge.core.cli_support import run_main as run_program
from edge.core.terminal import Style, Terminal
from edge.runtime.journal import JournalHandler, stream_is_journal

_COMMANDS = (demo, setup, check, run, events, replay, bench, maintenance)  # in the order of --help


_LOG_STYLES = ((logging.ERROR, Style.ERROR), (logging.WARNING, Style.WARNING))


def main() -> None:
    """Entry point of the console script."""
    # Threads slow such small matrix products down, and take cores from the models. Read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run_program(_main)


def _main() -> int:
    arguments = _parser().parse_args()
    _log(logging.DEBUG if arguments.verbose else arguments.log_level)
    code: int = arguments.command(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Face recognition at the door: camera frames in, access events over MQTT out.",
        epilog="Start with edge demo. To set up a door, use edge setup, edge check and edge run. "
        "Distances are squared Euclidean distances between unit embeddings, 0 to 4; lower is nearer. "
        "Exit codes: 0 success, 1 failure, 2 unusable command line, configuration or input file.",
    )
    parser.add_argument("--version", action="version", version=f"threshold-edge {__version__}")
    parser.set_defaults(log_level=logging.INFO)
    parser.add_argument("-v", "--verbose", action="store_true", help="also log repeated messages and details")
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


class _TerminalFormatter(PrintableFormatter):
    """Shows warnings and errors in colour on a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._terminal = terminal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        style = next((style for level, style in _LOG_STYLES if record.levelno >= level), Style.PLAIN)
        return self._terminal.styled(super().formatMessage(record), style)


def _log(level: int) -> None:
    """Log to the journal with fields if standard error leads there, else as lines to standard error."""
    handler = JournalHandler() if stream_is_journal() else logging.StreamHandler()
    is_journal = isinstance(handler, JournalHandler)
    handler.setFormatter(PrintableFormatter("%(message)s") if is_journal else _TerminalFormatter(Terminal(sys.stderr)))
    logging.basicConfig(handlers=[handler], level=level)


if __name__ == "__main__":
    main()
