"""What a measurement says: medians with the interval in which they could as well lie, and their quotients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np

_QUANTILE = 0.98  # half the 95 % quantile of the normal distribution

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
