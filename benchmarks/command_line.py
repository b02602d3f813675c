"""Command line of the benchmarks of doors; each prints a report like `edge bench`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in `edge`; numpy reads it when it is imported

from edge.bench.report import Report
from edge.cli.bench import add_options, report_benchmark
from edge.core.config import ModelsConfig


def run_benchmark(description: str | None, repeats: int, measure: Callable[[ModelsConfig, int], Report]) -> None:
    """Parse the command line, measure and print.

    Args:
        description: text for --help.
        repeats: default number of runs.
        measure: function of models and number of runs that returns the report.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, repeats)
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be 1 or more")
    report_benchmark(arguments, lambda: measure(ModelsConfig(threads=arguments.threads), arguments.repeats))
