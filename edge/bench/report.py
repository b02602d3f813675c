"""The report of `edge bench`: medians with their intervals, written, read and compared."""

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
_SLIGHT = 0.02  # a smaller change is never marked
_ONE_RUN = 0.05  # the same for a figure with a single run

Finite = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured number."""

    section: str  # section of the benchmark
    name: str  # what was measured
    unit: str  # "ms", "CPU ms", "x" for a ratio, "MB" (10^6 bytes), "CPU s/h", "us"
    value: Finite  # median of the runs
    low: Finite  # low to high: 95 % interval of the median, by order statistics; the value itself for a single run
    high: Finite
    tail: Finite | None  # 95th percentile, or the 99th if the name contains that; None where it has no meaning
    runs: Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: wall time, and processor time of the whole process, in nanoseconds."""

    wall_ns: int
    cpu_ns: int

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall_ns + other.wall_ns, self.cpu_ns + other.cpu_ns)


def time_once(run: Callable[[], object]) -> Timing:
    """Run a function once and time it."""
    cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
    run()
    return Timing(time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns)


def figure(section: str, name: str, unit: str, values: Iterable[float], tail: float | None = 95) -> Measurement:
    """The median of at least one value with its interval; `tail` is the percentile to add."""
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
    """Wall and processor time of laps, milliseconds."""
    return [
        figure(section, name, "ms", (each.wall_ns / 1e6 for each in laps)),
        figure(section, name, "CPU ms", (each.cpu_ns / 1e6 for each in laps)),
    ]


def ratios(section: str, name: str, pairs: Sequence[tuple[Timing, Timing]], per: float = 1.0) -> list[Measurement]:
    """Medians of the ratios of paired laps, in wall time and processor time; each ratio is divided by `per`."""
    walls = [over.wall_ns / max(under.wall_ns, 1) / per for over, under in pairs]
    cpus = [over.cpu_ns / max(under.cpu_ns, 1) / per for over, under in pairs]
    return [figure(section, name, "x", walls), figure(section, name, "CPU x", cpus)]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Report that `edge bench --json` prints."""

    version: Literal[1] = 1
    program: str
    machine: str
    cores: int
    load: float  # load average of the last minute at the start of the measurement
    python: str
    runtime: str
    threads: int
    broker: str  # broker that carried the events; "" if none was needed
    figures: tuple[Measurement, ...]  # in the order of measurement; section, name and unit together are unique


class Change(msgspec.Struct, frozen=True):
    """One figure before and after."""

    section: str
    name: str
    unit: str
    before: float
    after: float
    ratio: float  # after / before; if `before` is 0: 1 if `after` is 0 too, else 0
    changed: bool  # the intervals do not overlap, and the ratio differs from 1 by more than 2 % (one run: 5 %)


class Comparison(msgspec.Struct, frozen=True):
    """Comparison that `edge bench --compare --json` prints; figures in only one report are left out."""

    before: Report
    after: Report
    changes: tuple[Change, ...]


def make_report(models: ModelsConfig, measure: Callable[[], list[Measurement]], broker: str = "") -> Report:
    """Measure, and describe the machine; `broker` is the name of the broker that carries the events, if any."""
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
    """Read a report of `edge bench --json`.

    Raises:
        InputError: the file cannot be read, or is not a complete report.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except DECODE_ERRORS as error:
        raise InputError(f"{path}: not a report ({error}); make one with  edge bench --json") from error


def compare(before: Report, after: Report) -> Comparison:
    """Compare the figures that both reports have, in the order of the second report."""
    known = {measurement_key(figure): figure for figure in before.figures}
    changes = tuple(_change(known[measurement_key(new)], new) for new in after.figures if measurement_key(new) in known)
    return Comparison(before, after, changes)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[-1] if names else "unknown processor"


def measurement_key(figure: Measurement) -> tuple[str, str, str]:
    """Section, name and unit, which together are unique in a report."""
    return figure.section, figure.name, figure.unit


def _change(old: Measurement, new: Measurement) -> Change:
    ratio = new.value / old.value if old.value else float(new.value == old.value)
    least = _ONE_RUN if min(old.runs, new.runs) == 1 else _SLIGHT
    changed = (new.low > old.high or new.high < old.low) and abs(ratio - 1) > least
    return Change(new.section, new.name, new.unit, old.value, new.value, float(f"{ratio:.4g}"), changed)
