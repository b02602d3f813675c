"""The results of an evaluation as tables for people."""

from __future__ import annotations

import math

from threshold_tools.evaluate.report import EvaluationReport, MeanWithSpread
from threshold_tools.html import render
from threshold_tools.stats import Rate

MISIDENTIFIED = 12  # photos shown; --json has all


def format_report(report: EvaluationReport) -> str:
    """The report as tables for people."""
    return render(
        "evaluate.txt", report=report, percent=percent, spread=spread, interval=interval, misidentified=MISIDENTIFIED
    ).rstrip()


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def spread(value: MeanWithSpread | None) -> str:
    """A mean and its standard deviation, in percent."""
    return "-" if value is None else f"{percent(value.mean)} ± {100 * value.spread:.2f}"


def interval(rate: Rate) -> str:
    """A rate and its interval."""
    return f"{percent(rate.value)} ({100 * rate.low:.2f} to {100 * rate.high:.2f})"
