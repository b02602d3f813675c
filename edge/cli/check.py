"""`edge check`: checks this door and names a remedy for every problem."""

from __future__ import annotations

import argparse
import logging
import sys

from edge.cli.command import Commands, add_command, add_config_option, print_json
from edge.core.cli_support import find_config
from edge.core.terminal import Terminal


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "check", _check, "check this door, with a remedy for every problem")
    command.set_defaults(log_level=logging.ERROR)  # the results contain all warnings
    add_config_option(command)
    command.add_argument("--json", action="store_true", help="print one JSON array of results")


def _check(arguments: argparse.Namespace) -> int:
    path = find_config(arguments.config)
    from edge.diagnostics.check import check
    from edge.diagnostics.report import ReportPrinter, State

    printer = ReportPrinter(Terminal(sys.stdout))
    results = []
    for result in check(path):
        results.append(result)
        if not arguments.json:
            printer.print(result)
    if arguments.json:
        print_json(results)
    else:
        printer.print_summary(results)
    return 1 if any(result.state is State.FAIL for result in results) else 0
