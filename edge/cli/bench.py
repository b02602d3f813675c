"""`edge bench`: measure this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.command import Commands, add_command, print_json
from edge.core.config import ModelsConfig

if TYPE_CHECKING:
    from edge.bench.report import Report


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "bench", _bench, "measure this machine: models, stages and steps of the pipeline")
    add_options(command, repeats=100)
    command.add_argument("--only", nargs="+", choices=("steps",), help="sections to measure (default: all)")
    command.add_argument("--quick", action="store_true", help="a fifth of the runs")


def add_options(parser: argparse.ArgumentParser, repeats: int) -> None:
    """Add the options that every benchmark has; `repeats` is the default number of runs."""
    parser.add_argument(
        "--threads",
        type=int,
        default=ModelsConfig().threads,
        choices=range(1, 17),
        metavar="N",
        help="of the models (default: %(default)s, as for a door)",
    )
    parser.add_argument(
        "--repeats", type=int, default=repeats, metavar="N", help="runs of each measurement (default: %(default)s)"
    )
    parser.add_argument("--compare", type=Path, metavar="OTHER.json", help="show what changed since this report")
    parser.add_argument("--json", action="store_true", help="a JSON object; --compare reads it back")


def report_benchmark(arguments: argparse.Namespace, measure: Callable[[], Report]) -> None:
    """Measure, and print the report or its comparison with an earlier one, as `add_options` has been parsed."""
    from edge.bench.report import compare, comparison_table, read_report, table

    before = read_report(arguments.compare) if arguments.compare else None
    report = measure()
    comparison = compare(before, report) if before else None
    if arguments.json:
        print_json(comparison or report)
    else:
        print(comparison_table(comparison) if comparison else table(report))


def _bench(arguments: argparse.Namespace) -> int:
    from edge.bench import pipeline_stages
    from edge.bench.report import make_report

    models = ModelsConfig(threads=arguments.threads)
    repeats = max(3, arguments.repeats // 5) if arguments.quick else arguments.repeats
    report_benchmark(arguments, lambda: make_report(models, lambda: pipeline_stages.measure(models, repeats)))
    return 0
