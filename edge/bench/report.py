"""The report of `edge bench`: measured, written, read back, and compared with another one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from edge import __version__
from edge.bench.statistics import Measurement
from edge.core.config import ModelsConfig
from edge.core.errors import DECODE_ERRORS, InputError
from edge.vision.tflite import TfliteModel

_SLIGHT = 0.02  # a smaller change is never marked, however steady the machine
_ONE_RUN = 0.05  # the same for a figure that was measured only once


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
    """Measure, and describe the machine.

    Args:
        models: as measured.
        measure: takes the measurements.
        broker: name of the broker that carries the events, if any.
    """
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
    pairs = [(known[_key(figure)], figure) for figure in after.figures if _key(figure) in known]
    return Comparison(before, after, tuple(_change(old, new) for old, new in pairs))


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
    apart = new.low > old.high or new.high < old.low
    least = _ONE_RUN if min(old.runs, new.runs) == 1 else _SLIGHT
    changed = apart and abs(ratio - 1) > least
    return Change(new.section, new.name, new.unit, old.value, new.value, float(f"{ratio:.4g}"), changed)
