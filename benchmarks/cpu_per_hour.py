"""Measure the processor time of a door per hour, for three scenes at the configured frame rate.

The scenes go through the pipeline without waiting; time comes from the frames. The camera is not counted, because the
share of its driver differs between cameras.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from command_line import run_benchmark

from edge.bench.report import Measurement, Report, figure, make_report, time_once
from edge.bench.scenes import FPS, FRAME_NS, Scenes, scenes
from edge.core.cli_support import run_main
from edge.core.config import DoorConfig, ModelsConfig
from edge.core.records import BgrImage, Frame
from edge.demo.run_demo import GALLERY
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.vision.face_sampler import VisionStages, load_vision

_BLOCK_S = 4  # two scans of an idle scene, and one visit in a busy scene
_VISIT_S = 3  # of the block; in the rest something moves and no visitor is present
_HOUR_S = 3600


def measure(models: ModelsConfig, blocks: int) -> list[Measurement]:
    """Return CPU seconds per hour: an empty still scene, a still face, and repeated visits of two people.

    Args:
        models: models to load.
        blocks: number of blocks of four seconds per scene.
    """
    door = DoorConfig(site="bench", door="bench", models=models)
    vision = load_vision(models, door.detector, door.quality)
    shown = scenes(models)
    return [
        figure("power", name, "CPU s/h", _seconds_an_hour(door, vision, pictures, blocks))
        for name, pictures in (
            ("still empty scene", shown.still),
            ("still face", shown.still_face),
            ("busy scene, two people at a time", _visits(shown)),
        )
    ]


def _visits(shown: Scenes) -> list[BgrImage]:
    present = islice(cycle(shown.busy), _VISIT_S * FPS)
    absent = islice(cycle(shown.moving), (_BLOCK_S - _VISIT_S) * FPS)
    return [*present, *absent]


def _seconds_an_hour(door: DoorConfig, vision: VisionStages, pictures: Sequence[BgrImage], blocks: int) -> list[float]:
    pipeline = Pipeline(door, vision, load_gallery(GALLERY, vision.reader.embedder.sha256))
    frames = _frames(pictures)

    def block() -> None:
        for frame in islice(frames, _BLOCK_S * FPS):
            pipeline.step(frame)

    block()  # untimed: until the first verdict, or until the scene is still
    return [time_once(block).cpu_ns / 1e9 / _BLOCK_S * _HOUR_S for _ in range(blocks)]


def _frames(pictures: Sequence[BgrImage]) -> Iterator[Frame]:
    for number, picture in enumerate(cycle(pictures)):
        yield Frame(picture, number, number * FRAME_NS)


def _report(models: ModelsConfig, blocks: int) -> Report:
    return make_report(models, lambda: measure(models, blocks))


if __name__ == "__main__":
    run_main(lambda: run_benchmark(__doc__, 10, _report))
