"""Tables of benchmark reports for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edge.bench.report import Comparison, Measurement, Report, measurement_key
from edge.core.cli_support import counted
from edge.core.terminal import Style, Terminal, fit

_CPU = "CPU "  # before the unit of a figure in processor time
_NAME_WIDTHS = (24, 44)  # columns of the longest name: least, most
_FIGURE_WIDTH = 42  # columns after the name in a report, without the unit
_CHANGE_WIDTH = 29  # the same in a comparison


def report_table(report: Report, terminal: Terminal) -> str:
    """The figures of a report; processor time is in the same row as wall time."""
    lines = [
        f"threshold-edge {report.program} on {report.machine}",
        f"{counted(report.cores, 'core')}, load {report.load:.1f}, Python {report.python}, {report.runtime}, "
        f"{counted(report.threads, 'thread')}{', ' if report.broker else ''}{report.broker}",
    ]
    figures = {measurement_key(figure): figure for figure in report.figures}
    shown = [figure for figure in report.figures if not _is_cpu_time_of_another(figure, figures)]
    unit_width = max([4, *(len(figure.unit) for figure in shown)])
    width = _name_width((figure.name for figure in shown), _FIGURE_WIDTH + unit_width, terminal)
    section = ""
    for figure in shown:
        if figure.section != section:
            section = figure.section
            head = f"{section:{width + 2}}{'median':>8} {'unit':{unit_width}}{'95 % interval':>17}{'tail':>8}{'CPU':>8}"
            lines += ["", terminal.styled(head, Style.BOLD)]
        cpu = figures.get((figure.section, figure.name, _CPU + figure.unit))
        row = f"  {fit(figure.name, width)}{_number(figure.value):>8} {figure.unit:{unit_width}}"
        lines.append(f"{row}{_spread(figure)}{_number(cpu.value) if cpu else '':>8}".rstrip())
    return "\n".join(lines)


def comparison_table(comparison: Comparison, terminal: Terminal) -> str:
    """Figures before and after with their ratio; changes beyond the noise are marked."""
    unit_width = max([4, *(len(change.unit) for change in comparison.changes)])
    width = _name_width((change.name for change in comparison.changes), _CHANGE_WIDTH + unit_width, terminal)
    head = f"{'':{width + 2}}{'before':>8}{'after':>8} {'unit':{unit_width}}{'ratio':>8}"
    lines = [*_differences(comparison.before, comparison.after), terminal.styled(head, Style.BOLD)]
    section = ""
    for change in comparison.changes:
        if change.section != section:
            section = change.section
            lines.append(terminal.styled(section, Style.BOLD))
        values = f"{_number(change.before):>8}{_number(change.after):>8} {change.unit:{unit_width}}"
        row = f"  {fit(change.name, width)}{values}{change.ratio:8.3f}"
        lines.append(terminal.styled(f"{row}  *", Style.WARNING) if change.changed else row)
    marked = sum(change.changed for change in comparison.changes)
    lines.append(f"{marked} of {len(comparison.changes)} figures changed by more than their noise (marked *)")
    return "\n".join(lines)


def _name_width(names: Iterable[str], others: int, terminal: Terminal) -> int:
    """Columns for names: as many as the longest needs; on a narrow terminal fewer, and long names are cut."""
    least, most = _NAME_WIDTHS
    width = min(max(map(len, names), default=0), most)
    return max(min(width, terminal.width - others - 2) if terminal.interactive else width, least)


def _is_cpu_time_of_another(figure: Measurement, figures: Mapping[tuple[str, str, str], Measurement]) -> bool:
    """Whether a figure is the processor time of a figure with wall time."""
    wall_unit = figure.unit.removeprefix(_CPU)
    return wall_unit != figure.unit and (figure.section, figure.name, wall_unit) in figures


def _spread(figure: Measurement) -> str:
    """Interval and tail in 25 columns."""
    interval = f"{_number(figure.low)} to {_number(figure.high)}" if figure.runs > 1 else ""
    tail = "" if figure.tail is None else _number(figure.tail)
    return f"{interval:>17}{tail:>8}"


def _differences(before: Report, after: Report) -> Iterator[str]:
    """Conditions that make the reports hard to compare."""
    for name in ("machine", "cores", "python", "runtime", "threads", "broker"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"different {name}: {old} before, {new} after"


def _number(value: float) -> str:
    """Four digits or the whole number, without an exponent."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
