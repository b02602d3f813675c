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
    """Wraps the verb of a stage; the wrapped verb must behave exactly as the bare one."""

    def __call__(self, stage: str, verb: Callable[P, R]) -> Callable[P, R]: ...


def no_timing(stage: str, verb: Callable[P, R]) -> Callable[P, R]:
    """The meter that measures nothing and costs nothing."""
    return verb


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What one stage took over its latest runs."""

    runs: int
    median_ms: float
    p95_ms: float


class TimingRecorder:
    """A `StageTimer` that keeps the latest `kept` times of every stage; None keeps all."""

    def __init__(self, kept: int | None = _KEPT) -> None:
        self._kept = kept
        self.laps_ns: dict[str, deque[int]] = {}  # those times, oldest first, nanoseconds

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
        """Forget all laps."""
        for laps in self.laps_ns.values():
            laps.clear()
