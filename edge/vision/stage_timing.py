"""Optional timing of stages: `timer(name, function)` returns a wrapped function.

Each stage's function is wrapped once, when it is bound. The stages themselves never read a clock; a replay binds them
without timing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_KEPT = 512  # latest runs of each stage


class StageTimer(Protocol):
    """Wraps the function of a stage; the wrapper must behave exactly like the function."""

    def __call__(self, stage: str, verb: Callable[P, R]) -> Callable[P, R]: ...


def no_timing(stage: str, verb: Callable[P, R]) -> Callable[P, R]:
    """A timer without measurement: returns the function itself."""
    return verb


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Times of the latest runs of one stage."""

    runs: int
    median_ms: float
    p95_ms: float


class TimingRecorder:
    """A `StageTimer` that keeps the latest `kept` times of every stage; None: all."""

    def __init__(self, kept: int | None = _KEPT) -> None:
        self._kept = kept
        self.laps_ns: dict[str, deque[int]] = {}  # times by stage, oldest first, nanoseconds

    def __call__(self, stage: str, verb: Callable[P, R]) -> Callable[P, R]:
        laps = self.laps_ns.setdefault(stage, deque(maxlen=self._kept))
        now = time.perf_counter_ns

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            began = now()
            result = verb(*args, **kwargs)
            laps.append(now() - began)
            return result

        return timed

    def timings(self) -> dict[str, StageSummary]:
        """Median and 95th percentile of every stage that ran since the last `clear`."""
        summaries = {}
        for stage, laps in self.laps_ns.items():
            if laps:
                median, p95 = (np.percentile(np.asarray(laps), [50, 95]) / 1e6).tolist()
                summaries[stage] = StageSummary(len(laps), round(median, 3), round(p95, 3))
        return summaries

    def clear(self) -> None:
        """Delete all times."""
        for laps in self.laps_ns.values():
            laps.clear()
