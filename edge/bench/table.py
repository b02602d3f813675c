"""The reports of `edge bench` for people, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterable

from edge.bench.report import Change, Comparison, Report
from edge.bench.statistics import Measurement

_NAME = 46
_CPU = "CPU "  # before the unit of a figure in processor time


def table(report: Report) -> str:
    """The report; a figure in processor time stands beside its twin in wall time."""
    lines = [
        f"threshold-edge {report.program} on {report.machine}",
        f"{report.cores} cores, load {report.load:.1f}, Python {report.python}, {report.runtime}, "
        f"{report.threads} thread{'s' if report.threads > 1 else ''}{', ' if report.broker else ''}{report.broker}",
    ]
    cpu = {(figure.section, figure.name, figure.unit): figure for figure in report.figures}
    section = ""
    for figure in report.figures:
        twin = cpu.get((figure.section, figure.name, _CPU + figure.unit))
        if figure.unit.startswith(_CPU) and (figure.section, figure.name, figure.unit[len(_CPU) :]) in cpu:
            continue
        if figure.section != section:
            section = figure.section
            lines += ["", f"{section:{_NAME}}{'median':>9} {'unit':7}{'95 % interval':>19}{'tail':>9}{'CPU':>9}"]
        lines.append(_line(figure, twin))
    return "\n".join(lines)


def comparison_table(comparison: Comparison) -> str:
    """Before, after and their quotient; what changed by more than the noise is marked."""
    lines = [
        *_differences(comparison.before, comparison.after),
        f"{'':_<{_NAME}}{'before':>10}{'after':>10} {'unit':8}{'ratio':>8}".replace("_", " "),
    ]
    section = ""
    for change in comparison.changes:
        if change.section != section:
            section = change.section
            lines.append(section)
        lines.append(_changed(change))
    marked = sum(change.changed for change in comparison.changes)
    lines.append(f"{marked} of {len(comparison.changes)} figures changed by more than their noise (marked *)")
    return "\n".join(lines)


def _line(figure: Measurement, twin: Measurement | None) -> str:
    interval = f"{_number(figure.low)} to {_number(figure.high)}" if figure.runs > 1 else ""
    tail = "" if figure.tail is None else _number(figure.tail)
    cpu = "" if twin is None else _number(twin.value)
    return (
        f"  {figure.name:{_NAME - 2}}{_number(figure.value):>9} {figure.unit:7}{interval:>19}{tail:>9}{cpu:>9}"
    ).rstrip()


def _changed(change: Change) -> str:
    return (
        f"  {change.name:{_NAME - 2}}{_number(change.before):>10}{_number(change.after):>10} {change.unit:8}"
        f"{change.ratio:8.3f}{'  *' if change.changed else ''}"
    )


def _differences(before: Report, after: Report) -> Iterable[str]:
    """What makes the two hard to compare."""
    for what in ("machine", "cores", "python", "runtime", "threads", "broker"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            yield f"not the same {what}: {old} before, {new} after"


def _number(value: float) -> str:
    """Four digits or the whole number, without an exponent."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
