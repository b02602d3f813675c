"""`edge bench`: measure this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.bench import SECTIONS
from edge.cli.command import Commands, add_command, print_json
from edge.core.config import ModelsConfig


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(
        commands,
        "bench",
        _bench,
        "measure this machine: models, steps, power, a running door, its start, searches",
    )
    command.add_argument(
        "--threads",
        type=int,
        default=ModelsConfig().threads,
        choices=range(1, 17),
        metavar="N",
        help="of the models (default: %(default)s, as for a door)",
    )
    command.add_argument(
        "--repeats",
        type=int,
        default=100,
        metavar="N",
        help="runs of each model and step, the rest in proportion (default: 100)",
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=SECTIONS,
        choices=SECTIONS,
        metavar="SECTION",
        help=f"some of: {', '.join(SECTIONS)} (default: all)",
    )
    command.add_argument("--quick", action="store_true", help="a fifth of the runs, and no large galleries")
    command.add_argument("--compare", type=Path, metavar="OTHER.json", help="show what changed since this report")
    command.add_argument("--json", action="store_true", help="a JSON object; --compare reads it back")


def _bench(arguments: argparse.Namespace) -> int:
    from edge.bench.bench import bench
    from edge.bench.report import compare, read_report
    from edge.bench.table import comparison_table, table

    before = read_report(arguments.compare) if arguments.compare else None
    report = bench(
        ModelsConfig(threads=arguments.threads),
        sections=arguments.only,
        repeats=arguments.repeats,
        quick=arguments.quick,
    )
    comparison = compare(before, report) if before else None
    if arguments.json:
        print_json(comparison or report)
    else:
        print(comparison_table(comparison) if comparison else table(report))
    return 0
