"""The report of `edge bench`: medians with their intervals; written, read back, compared, and shown as a table."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from edge import __version__
from edge.core.config import ModelsConfig
from edge.core.errors import DECODE_ERRORS, InputError
from edge.vision.tflite import TfliteModel

_QUANTILE = 0.98  # half the 95 % quantile of the normal distribution
_SLIGHT = 0.02  # a smaller change is never marked, however steady the machine
_ONE_RUN = 0.05  # the same for a figure that was measured only once
_NAME = 46
_CPU = "CPU "  # before the unit of a figure in processor time

Finite = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured number."""

    section: str  # of the bench
    name: str  # what was measured
    unit: str  # "ms", "CPU ms", "x" for a quotient, "MB" (10^6 bytes), "CPU s/h", "us"
    value: Finite  # the median of the runs
    low: Finite  # to `high`: 95 % interval of the median, by order statistics; the value itself where there was one run
    high: Finite
    tail: Finite | None  # the 95th percentile, or the 99th where the name says so; None where it means nothing
    runs: Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: wall time, and processor time of the whole process, in nanoseconds."""

    wall_ns: int
    cpu_ns: int

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall_ns + other.wall_ns, self.cpu_ns + other.cpu_ns)


def time_once(run: Callable[[], object]) -> Timing:
    """Run something once."""
    cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
    run()
    return Timing(time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns)


def figure(section: str, name: str, unit: str, values: Iterable[float], tail: float | None = 95) -> Measurement:
    """The median of at least one value; `tail` is the percentile to give with it."""
    ordered = np.sort(np.fromiter(values, np.float64))
    half = _QUANTILE * math.sqrt(len(ordered))
    middle = (len(ordered) - 1) / 2
    low, high = max(0, math.floor(middle - half)), min(len(ordered) - 1, math.ceil(middle + half))
    return Measurement(
        section,
        name,
        unit,
        value=_rounded(float(np.median(ordered))),
        low=_rounded(float(ordered[low])),
        high=_rounded(float(ordered[high])),
        tail=None if tail is None or len(ordered) == 1 else _rounded(float(np.percentile(ordered, tail))),
        runs=len(ordered),
    )


def times(section: str, name: str, laps: Sequence[Timing]) -> list[Measurement]:
    """Wall and processor time of some laps, milliseconds."""
    return [
        figure(section, name, "ms", (each.wall_ns / 1e6 for each in laps)),
        figure(section, name, "CPU ms", (each.cpu_ns / 1e6 for each in laps)),
    ]


def ratios(section: str, name: str, pairs: Sequence[tuple[Timing, Timing]], per: float = 1.0) -> list[Measurement]:
    """Medians of the quotients of laps that were run in turn, in wall and in processor time; each divided by `per`."""
    walls = [over.wall_ns / max(under.wall_ns, 1) / per for over, under in pairs]
    cpus = [over.cpu_ns / max(under.cpu_ns, 1) / per for over, under in pairs]
    return [figure(section, name, "x", walls), figure(section, name, "CPU x", cpus)]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `edge bench --json` prints."""

    version: Literal[1] = 1
    program: str
    machine: str
    cores: int
    load: float  # load average of the last minute when the measurement began
    python: str
    runtime: str
    threads: int
    broker: str  # which one carried the events, "" if none was needed
    figures: tuple[Measurement, ...]  # in the order of measurement; `section`, `name` and `unit` together name one


class Change(msgspec.Struct, frozen=True):
    """One figure before and after."""

    section: str
    name: str
    unit: str
    before: float
    after: float
    ratio: float  # after / before; where that was 0, 1 if it still is and else 0
    changed: bool  # by more than their noise: the intervals are apart, and by more than a slight share


class Comparison(msgspec.Struct, frozen=True):
    """What `edge bench --compare --json` prints; figures that only one of the reports has are left out."""

    before: Report
    after: Report
    changes: tuple[Change, ...]


def make_report(models: ModelsConfig, measure: Callable[[], list[Measurement]], broker: str = "") -> Report:
    """Measure, and describe the machine; `broker` names the one that carries the events, if any."""
    load = os.getloadavg()[0]
    return Report(
        program=__version__,
        machine=f"{platform.machine()}, {_processor()}",
        cores=os.cpu_count() or 1,
        load=round(load, 2),
        python=platform.python_version(),
        runtime=TfliteModel("embedder", models).runtime,
        threads=models.threads,
        broker=broker,
        figures=tuple(measure()),
    )


def read_report(path: Path) -> Report:
    """Read what `edge bench --json` has printed.

    Raises:
        InputError: it cannot be read, or is not a whole report.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except DECODE_ERRORS as error:
        raise InputError(f"{path}: not a report ({error}); make one with  edge bench --json") from error


def compare(before: Report, after: Report) -> Comparison:
    """Every figure that both reports have, in the order of the second."""
    known = {_key(figure): figure for figure in before.figures}
    changes = tuple(_change(known[_key(new)], new) for new in after.figures if _key(new) in known)
    return Comparison(before, after, changes)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[-1] if names else "unknown processor"


def _key(figure: Measurement) -> tuple[str, str, str]:
    return figure.section, figure.name, figure.unit


def _change(old: Measurement, new: Measurement) -> Change:
    ratio = new.value / old.value if old.value else float(new.value == old.value)
    least = _ONE_RUN if min(old.runs, new.runs) == 1 else _SLIGHT
    changed = (new.low > old.high or new.high < old.low) and abs(ratio - 1) > least
    return Change(new.section, new.name, new.unit, old.value, new.value, float(f"{ratio:.4g}"), changed)


def table(report: Report) -> str:
    """The report; a figure in processor time stands beside its twin in wall time."""
    lines = [
        f"threshold-edge {report.program} on {report.machine}",
        f"{report.cores} cores, load {report.load:.1f}, Python {report.python}, {report.runtime}, "
        f"{report.threads} thread{'s' if report.threads > 1 else ''}{', ' if report.broker else ''}{report.broker}",
    ]
    cpu = {_key(figure): figure for figure in report.figures}
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
        f"{'before':>{_NAME + 10}}{'after':>10} {'unit':8}{'ratio':>8}",
    ]
    section = ""
    for change in comparison.changes:
        if change.section != section:
            section = change.section
            lines.append(section)
        lines.append(
            f"  {change.name:{_NAME - 2}}{_number(change.before):>10}{_number(change.after):>10} {change.unit:8}"
            f"{change.ratio:8.3f}{'  *' if change.changed else ''}"
        )
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
