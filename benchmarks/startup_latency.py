"""Measure the time from the start of a door to its first verdict on a waiting visitor, and its causes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import msgspec
from command_line import run_benchmark
from processes import Broker, Door, broker, door, failure, write_clip
from startup_phases import Phase

from edge.bench.report import Measurement, Report, Timing, figure, make_report, time_once, times
from edge.bench.scenes import FPS, scenes
from edge.core.cli_support import run_main
from edge.core.config import CameraConfig, DoorConfig, ModelsConfig
from edge.core.errors import ThresholdError
from edge.core.records import AccessOutcome
from edge.demo.run_demo import GALLERY
from edge.events.schema import Event, EventKind
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Subscriber

_FILM_S = 6
_PATIENCE_S = 60.0
_WHERE = Topics("bench", "start")


def measure(models: ModelsConfig, starts: int, broker: Broker) -> list[Measurement]:
    """Measure each cause, one after another in fresh processes, and then whole doors.

    Args:
        models: models to load.
        starts: number of starts.
        broker: broker of the whole door.

    Raises:
        BrokerError: a door ended before its verdict.
    """
    with tempfile.TemporaryDirectory(prefix="threshold-bench-") as name:
        folder = Path(name)
        clip = folder / "waiting.mp4"
        write_clip(clip, [scenes(models).face] * (_FILM_S * FPS))
        config = DoorConfig(
            site=_WHERE.site,
            door=_WHERE.door,
            state_folder=name,
            gallery=str(GALLERY),
            camera=CameraConfig(source=str(clip)),
            models=models,
            mqtt=broker.mqtt,
        )
        figures = _causes(clip, models, starts)
        runs = [_first_verdict(config, folder, broker) for _ in range(starts)]
    return [
        *figures,
        figure("start", "process start to first verdict", "ms", [run.verdict_ms for run in runs]),
        figure("start", "process start to first verdict", "CPU ms", [run.cpu_ms for run in runs]),
        figure("start", "process start to event at subscriber", "ms", [run.event_ms for run in runs]),
        figure("start", "resident after the first verdict", "MB", [run.resident_mb for run in runs]),
    ]


class _Run(msgspec.Struct, frozen=True):
    verdict_ms: float
    cpu_ms: float
    event_ms: float
    resident_mb: float


def _causes(clip: Path, models: ModelsConfig, starts: int) -> list[Measurement]:
    """Measure one cause after another, without parallel work."""
    interpreter = [
        time_once(partial(subprocess.run, [sys.executable, "-c", "pass"], check=True)) for _ in range(starts)
    ]
    figures = [figure("start", "interpreter", "ms", (each.wall_ns / 1e6 for each in interpreter))]
    laps: dict[str, list[Timing]] = {}
    for _ in range(starts):
        for phase in _phases(clip, models):
            laps.setdefault(phase.name, []).append(Timing(phase.wall_ns, phase.cpu_ns))
    for name, each in laps.items():
        figures += times("start", name, each)
    return figures


def _phases(clip: Path, models: ModelsConfig) -> list[Phase]:
    words = [
        sys.executable,
        str(Path(__file__).with_name("startup_phases.py")),
        str(clip),
        str(GALLERY),
        msgspec.json.encode(models).decode(),
    ]
    try:
        done = subprocess.run(words, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ThresholdError(f"the start of a door cannot be measured: {' '.join(last)}") from error
    return msgspec.json.decode(done.stdout, type=list[Phase])


def _first_verdict(config: DoorConfig, folder: Path, broker: Broker) -> _Run:
    for left in folder.glob("outbox.sqlite*"):
        left.unlink()
    with Subscriber(broker.mqtt, _WHERE, [Channel.EVENTS]) as subscriber, door(config, folder) as running:
        for message in subscriber.messages(_PATIENCE_S):
            heard_ns = time.monotonic_ns()
            if isinstance(message.record, Event) and message.record.kind is EventKind.DOOR_OPEN:
                cpu_ms, (resident_mb, _) = running.cpu_ms(), running.memory_mb()
                return _Run(_logged_ms(running), cpu_ms, (heard_ns - running.began_ns) / 1e6, resident_mb)
            if isinstance(message.record, Event) and message.record.kind is EventKind.STOPPED:
                break
    raise failure(running)


def _logged_ms(running: Door) -> float:
    """Return when the door logged its opening, in ms after its start."""
    deadline_ns = time.monotonic_ns() + round(_PATIENCE_S * 1e9)
    while time.monotonic_ns() < deadline_ns:
        for read_ns, line in list(running.lines):
            if f"{AccessOutcome.DOOR_OPEN} " in line:
                return (read_ns - running.began_ns) / 1e6
        time.sleep(0.001)
    raise failure(running)


def _report(models: ModelsConfig, starts: int) -> Report:
    with broker() as beside:
        return make_report(models, lambda: measure(models, starts, beside), beside.name)


if __name__ == "__main__":
    run_main(lambda: run_benchmark(__doc__, 6, _report))
