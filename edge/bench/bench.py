"""The whole of `edge bench`: the sections that were asked for, one after the other."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edge import __version__
from edge.bench import SECTIONS, cpu_per_hour, pipeline_stages, search, startup_latency, visit_latency
from edge.bench.processes import Broker, broker
from edge.bench.report import Report
from edge.bench.statistics import Measurement
from edge.core.config import ModelsConfig
from edge.vision.tflite import TfliteModel

_NEED_A_BROKER = {"run", "start"}


def bench(
    models: ModelsConfig, *, sections: Sequence[str] = SECTIONS, repeats: int = 100, quick: bool = False
) -> Report:
    """Measure; about four minutes on a small computer, half of one when `quick`.

    Args:
        models: to load.
        sections: some of `SECTIONS`.
        repeats: runs of each model and step; the rest follows from it.
        quick: a fifth of everything, and no large galleries.

    Raises:
        ThresholdError: something that belongs to the measurement cannot be had, as a broker.
    """
    load = os.getloadavg()[0]
    turns = max(3, repeats // 5) if quick else repeats
    figures: list[Measurement] = []
    with ExitStack() as stack:
        needed = [name for name in sections if name in _NEED_A_BROKER]
        beside = stack.enter_context(broker()) if needed else None
        for name in SECTIONS:
            if name in sections:
                print(f"measuring: {name}", file=sys.stderr)
                figures += _section(name, models, turns, quick, beside)
    return Report(
        program=__version__,
        machine=f"{platform.machine()}, {_processor()}",
        cores=os.cpu_count() or 1,
        load=round(load, 2),
        python=platform.python_version(),
        runtime=TfliteModel("embedder", models).runtime,
        threads=models.threads,
        broker=beside.name if beside else "",
        figures=tuple(figures),
    )


def _section(name: str, models: ModelsConfig, turns: int, quick: bool, beside: Broker | None) -> list[Measurement]:
    measures: dict[str, Callable[[Broker], list[Measurement]]] = {
        "run": lambda broker: visit_latency.measure(models, max(3, turns * 3 // 4), broker),
        "start": lambda broker: startup_latency.measure(models, max(3, turns // 15), broker),
    }
    if name in measures:
        assert beside is not None, "the broker was started"
        return measures[name](beside)
    if name == "steps":
        return pipeline_stages.measure(models, turns)
    if name == "power":
        return cpu_per_hour.measure(models, max(3, turns // 10))
    return search.measure(quick)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[-1] if names else "unknown processor"
