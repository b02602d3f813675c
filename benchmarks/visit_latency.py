"""Measure the latency of events and the memory of a door with 10,000 people.

Latency begins with the capture of the frame that completed the verdict (the event's `at`). It ends when a subscriber
in another process has decoded the event. `at` is cut to milliseconds, so the latency may be up to 1 ms too long.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime
from pathlib import Path

from command_line import run_benchmark
from processes import Broker, Door, broker, door, failure, write_stills
from synthetic_gallery import crowd

from edge.bench.report import Measurement, Report, figure, make_report
from edge.bench.scenes import FPS, FRAME_NS, scenes
from edge.core.cli_support import run_main
from edge.core.config import CameraConfig, DoorConfig, ModelsConfig, RecognitionConfig, TrackerConfig
from edge.core.errors import BrokerError, ThresholdError
from edge.core.records import Person
from edge.demo.run_demo import GALLERY
from edge.events.schema import Event, EventKind
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Subscriber
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.replay.replay import replay
from edge.vision.tflite import TfliteModel

_PRESENT, _ABSENT = 8, 4  # frames of a visit and of the pause after it
_PEOPLE = 10_000
_PATIENCE_S = 30.0  # added to the length of the clip
_WHERE = Topics("bench", "run")


def measure(models: ModelsConfig, visits: int, broker: Broker) -> list[Measurement]:
    """Return the latency of events and the memory of the door.

    Args:
        models: models to run.
        visits: number of visits of one enrolled person.
        broker: broker of the door.

    Raises:
        BrokerError: the door ended, or did not answer each visit with one opening.
    """
    with tempfile.TemporaryDirectory(prefix="threshold-bench-") as name:
        folder = Path(name)
        config = _prepare(folder, models, visits, broker)
        delay_ms = _delay_ms(config)
        latencies: list[float] = []
        inside: list[float] = []  # until the event is passed to the network
        with Subscriber(broker.mqtt, _WHERE, [Channel.EVENTS]) as subscriber, door(config, folder) as running:
            memory = running.memory_mb()
            for message in subscriber.messages(visits * (_PRESENT + _ABSENT) / FPS + _PATIENCE_S):
                heard_ns = time.time_ns()
                event = message.record
                if not isinstance(event, Event):
                    continue
                if event.kind is EventKind.STOPPED:
                    break
                memory = _memory(running, memory)
                if event.kind is EventKind.DOOR_OPEN:
                    latencies.append(heard_ns / 1e6 - _milliseconds(event.at))
                    inside.append(_milliseconds(event.published_at or event.at) - _milliseconds(event.at))
    if len(latencies) != visits:
        raise _unexpected(running, visits, len(latencies))
    return [
        figure("run", "last needed frame to event (tail: p99)", "ms", latencies, tail=99),
        figure("run", "first good frame to event (tail: p99)", "ms", [each + delay_ms for each in latencies], 99),
        figure("run", "last needed frame to publication (tail: p99)", "ms", inside, tail=99),
        figure("run", f"resident with {_PEOPLE:,} people", "MB", [memory[0]]),
        figure("run", f"peak with {_PEOPLE:,} people", "MB", [memory[1]]),
    ]


def _prepare(folder: Path, models: ModelsConfig, visits: int, broker: Broker) -> DoorConfig:
    """Write stills and gallery; return the door's configuration."""
    config = DoorConfig(
        site=_WHERE.site,
        door=_WHERE.door,
        state_folder=str(folder),
        gallery=str(folder / "gallery.safetensors"),
        camera=CameraConfig(source=str(folder / "visits"), fps=FPS),
        models=models,
        tracker=TrackerConfig(lost_after_s=(_ABSENT - 1.5) / FPS),
        recognition=RecognitionConfig(cooldown_s=0.0),
        mqtt=broker.mqtt,
    )
    shown, embedder = scenes(models), TfliteModel("embedder", models).contract.sha256
    visit = [shown.face] * _PRESENT + [shown.nobody] * _ABSENT
    write_stills(folder / "visits", [*[shown.nobody] * _ABSENT, *visit * visits])
    enrolled = load_gallery(GALLERY, embedder)
    rows = crowd(_PEOPLE)
    rows[0] = enrolled.centroids[0]
    thresholds_sq = enrolled.thresholds_sq[:1].repeat(_PEOPLE)
    people = [enrolled.people[0], *(Person(f"person-{number}", f"Person {number}") for number in range(1, _PEOPLE))]
    save_gallery(folder / "gallery.safetensors", people, rows, thresholds_sq, embedder)
    return config


def _delay_ms(config: DoorConfig) -> float:
    """Return the frame time from the first frame of a visit to the frame that completes the verdict."""
    clip, gallery = Path(config.camera.source), Path(config.gallery)
    first = next(replay(config, clip, gallery), None)
    if first is None:
        raise ThresholdError(f"{clip}: no visitor is recognised")
    return first.t * 1e3 - _ABSENT * FRAME_NS / 1e6


def _memory(running: Door, known: tuple[float, float]) -> tuple[float, float]:
    """Return the current memory of the door, or the last known one if the door has ended."""
    try:
        return running.memory_mb()
    except (OSError, KeyError):
        return known


def _milliseconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp() * 1e3


def _unexpected(running: Door, visits: int, openings: int) -> BrokerError:
    if running.process.returncode:
        return failure(running)
    return BrokerError(f"the door under measurement opened {openings} times in {visits} visits; is it too slow?")


def _report(models: ModelsConfig, visits: int) -> Report:
    with broker() as beside:
        return make_report(models, lambda: measure(models, visits, beside), beside.name)


if __name__ == "__main__":
    run_main(lambda: run_benchmark(__doc__, 75, _report))
