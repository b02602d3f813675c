"""`edge bench`: measure this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.command import Commands, add_command, print_json
from edge.core.config import ModelsConfig
from edge.core.terminal import Terminal

if TYPE_CHECKING:
    from edge.bench.report import Report


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "bench", _bench, "measure the speed of models and pipeline on this machine")
    add_options(command, repeats=100)
    command.add_argument("--only", nargs="+", choices=("steps",), help="sections to measure (default: all)")
    command.add_argument("--quick", action="store_true", help="run a fifth of the repeats")


def add_options(parser: argparse.ArgumentParser, repeats: int) -> None:
    """Add the options of every benchmark; `repeats` is the default number of runs."""
    parser.add_argument(
        "--threads",
        type=int,
        default=ModelsConfig().threads,
        choices=range(1, 17),
        metavar="COUNT",
        help="threads of the models (default: %(default)s, as for a door)",
    )
    parser.add_argument(
        "--repeats", type=int, default=repeats, metavar="COUNT", help="runs of each measurement (default: %(default)s)"
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show the changes since this report")
    parser.add_argument("--json", action="store_true", help="print a JSON object, which --compare reads")


def report_benchmark(arguments: argparse.Namespace, measure: Callable[[], Report]) -> None:
    """Measure, and print the report or its comparison with an earlier one.

    Args:
        arguments: parsed options of `add_options`.
        measure: makes the report.
    """
    from edge.bench.report import compare, read_report
    from edge.bench.tables import comparison_table, report_table

    before = read_report(arguments.compare) if arguments.compare else None
    report = measure()
    comparison = compare(before, report) if before else None
    if arguments.json:
        print_json(comparison or report)
    else:
        terminal = Terminal(sys.stdout)
        print(comparison_table(comparison, terminal) if comparison else report_table(report, terminal))


def _bench(arguments: argparse.Namespace) -> int:
    from edge.bench import pipeline_stages
    from edge.bench.report import make_report

    models = ModelsConfig(threads=arguments.threads)
    repeats = max(3, arguments.repeats // 5) if arguments.quick else arguments.repeats
    report_benchmark(arguments, lambda: make_report(models, lambda: pipeline_stages.measure(models, repeats)))
    return 0
