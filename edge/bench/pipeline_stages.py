"""Times bare models and whole pipeline steps alternately, so that a machine that slows down affects both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from edge.bench.report import Measurement, Timing, figure, ratios, time_once, times
from edge.bench.scenes import FPS, Scenes, loop_frames, scenes
from edge.core.config import (
    DetectorConfig,
    DoorConfig,
    LivenessConfig,
    ModelsConfig,
    MotionConfig,
    QualityConfig,
    RecognitionConfig,
)
from edge.core.records import Frame
from edge.demo.run_demo import GALLERY
from edge.liveness.passive import PassiveLiveness
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.vision.face_sampler import VisionStages, load_vision
from edge.vision.stage_timing import StageTimer, TimingRecorder, no_timing
from edge.vision.tflite import TfliteModel

T = TypeVar("T")

_NO_COLOUR = (1, 254, 1)
_WARM = 10  # warm-up turns, not counted
_ROUND = 8  # frames per far search
_SWAY_PX = 6
_BLOCK = 2 * FPS  # frames of a still scene with one idle scan
_SEARCH_ALWAYS = DetectorConfig(far_scan_every_s=0.0)
EVERY_STAGE = DoorConfig(
    site="bench",
    door="bench",
    motion=MotionConfig(enabled=False),
    recognition=RecognitionConfig(sample_every_s=0.0, recheck_every_s=1e-9),
)
_AS_SHIPPED = DoorConfig(site="bench", door="bench")


@dataclass(frozen=True, slots=True)
class Turn:
    """One pipeline step, and one bare run of every model."""

    bare: dict[str, Timing]  # bare runs by model
    step: Timing
    ran: frozenset[str]  # models that the step itself ran

    @property
    def models(self) -> Timing:
        """Total of the bare runs of the models in `ran`."""
        return sum((self.bare[name] for name in self.ran), Timing(0, 0))


def measure(models: ModelsConfig, repeats: int) -> list[Measurement]:
    """Measure models, stages and steps; `repeats` is the number of turns of each measurement."""
    searching, following = TimingRecorder(kept=None), TimingRecorder(kept=None)
    vision = load_vision(models, _SEARCH_ALWAYS, QualityConfig(), searching)
    shown = scenes(models)
    search = run_interleaved(pipeline_of(EVERY_STAGE, vision, searching), vision, loop_frames([shown.face]), repeats)
    stages = [figure("stages", name, "ms", _ms(laps)) for name, laps in searching.laps_ns.items() if laps]
    closely = load_vision(models, DetectorConfig(), QualityConfig(), following)
    follow = run_interleaved(pipeline_of(EVERY_STAGE, closely, following), closely, loop_frames([shown.face]), repeats)
    close = [turn for turn in follow if "detector-near" in turn.ran and "detector-far" not in turn.ran]
    stages.append(figure("stages", "detect, followed face", "ms", _ms(following.laps_ns["detect"])))
    bare = [each for name in follow[0].bare for each in times("models", name, [turn.bare[name] for turn in follow])]
    return [
        *bare,
        *stages,
        *_steps("one_face", [(turn.step, turn.models) for turn in search]),
        *_steps("one_face_followed", [(turn.step, turn.models) for turn in close]),
        *_watching(closely, shown, repeats),
        *_without(vision, closely, shown, repeats),
    ]


def _watching(vision: VisionStages, shown: Scenes, repeats: int) -> list[Measurement]:
    """Time that liveness adds to a sampled frame of a swaying face, and its ratio to the step of that frame."""
    swaying = [
        np.roll(picture, round(_SWAY_PX * math.sin(number)), axis=1) for number, picture in enumerate(shown.still_face)
    ]
    pipeline, liveness = pipeline_of(EVERY_STAGE, vision), PassiveLiveness(config=LivenessConfig())
    pairs = []
    for frame in _progress(loop_frames(swaying), repeats + _WARM):
        step = time_once(partial(pipeline.step, frame))
        for track in pipeline.tracks:
            if track.id in pipeline.samples:
                watch = partial(liveness.observe, track, frame, pipeline.samples[track.id], frame.captured_ns)
                pairs.append((time_once(watch), step))
    kept = pairs[_WARM:] or pairs
    watched = [watch for watch, _ in kept]
    return [*times("steps", "liveness", watched), *ratios("steps", "liveness / one_face_followed", kept)]


def _steps(name: str, pairs: Sequence[tuple[Timing, Timing]]) -> list[Measurement]:
    """Step times and their ratios to the bare models; empty without steps, as without a near detector."""
    if not pairs:
        return []
    return [*times("steps", name, [step for step, _ in pairs]), *ratios("steps", f"{name} / its bare models", pairs)]


def _without(searching: VisionStages, following: VisionStages, shown: Scenes, repeats: int) -> list[Measurement]:
    """Scenes without a face: a moving one (searched in every frame, and with default settings), and a still one."""
    far = searching.models[0]
    searched = run_interleaved(pipeline_of(_AS_SHIPPED, searching), searching, loop_frames(shown.moving), repeats)
    rounds = _rounds(
        run_interleaved(pipeline_of(_AS_SHIPPED, following), following, loop_frames(shown.moving), repeats), far
    )
    still = _blocks(pipeline_of(_AS_SHIPPED, following), far, loop_frames(shown.still), max(2, repeats // 10))
    return [
        *_steps("empty_moving_searched", [(turn.step, turn.models) for turn in searched]),
        *times("steps", "empty_moving, mean of a frame", [_share(step, _ROUND) for step, _ in rounds]),
        *ratios("steps", f"empty_moving / bare {_name(far)}", rounds),
        *times("steps", "still_empty, mean of a frame", [_share(block, _BLOCK) for block, _ in still]),
        *ratios("steps", f"still_empty / bare {_name(far)}", still, per=_BLOCK),
    ]


def _rounds(turns: Sequence[Turn], far: TfliteModel) -> list[tuple[Timing, Timing]]:
    """Steps of each round with one far search, and as many bare runs of the far detector."""
    rounds = []
    for start in range(0, len(turns) - _ROUND + 1, _ROUND) or [0]:
        some = turns[start : start + _ROUND]
        steps, bare = (turn.step for turn in some), (turn.bare[_name(far)] for turn in some)
        rounds.append((sum(steps, Timing(0, 0)), sum(bare, Timing(0, 0))))
    return rounds


def _share(lap: Timing, frames: int) -> Timing:
    return Timing(lap.wall_ns // frames, lap.cpu_ns // frames)


def run_interleaved(pipeline: Pipeline, vision: VisionStages, frames: Iterator[Frame], repeats: int) -> list[Turn]:
    """For each frame run every model bare, then one step; returns `repeats` turns after the warm-up."""
    turns = []
    for frame in _progress(frames, repeats + _WARM):
        bare = {_name(model): time_once(model.invoke) for model in vision.models}
        for model in vision.models:
            _mark_input(model)
        step = time_once(partial(pipeline.step, frame))
        ran = frozenset(_name(model) for model in vision.models if not _is_marked(model))
        turns.append(Turn(bare, step, ran))
    return turns[_WARM:]


def _blocks(
    pipeline: Pipeline, detector: TfliteModel, frames: Iterator[Frame], blocks: int
) -> list[tuple[Timing, Timing]]:
    """Steps of two seconds of frames, and the median of three bare runs of the detector."""

    def block() -> None:
        for frame in islice(frames, _BLOCK):
            pipeline.step(frame)

    for _ in range(2):  # until motion has ended
        block()
    laps = []
    for _ in _progress(itertools.count(), blocks):
        bare = [time_once(detector.invoke) for _ in range(3)]
        laps.append((time_once(block), sorted(bare, key=lambda each: each.wall_ns)[1]))
    return laps


def _progress(items: Iterator[T], count: int) -> Iterator[T]:
    """The first `count` items, with a progress bar on a terminal."""
    yield from tqdm(islice(items, count), desc="bench", total=count, disable=None, leave=False)


def _mark_input(model: TfliteModel) -> None:
    """Mark the middle of the model's input with a colour that no scene has there; a run overwrites it."""
    middle = model.pixels.shape[0] // 2
    model.pixels[middle, middle] = _NO_COLOUR


def _is_marked(model: TfliteModel) -> bool:
    middle = model.pixels.shape[0] // 2
    return tuple(model.pixels[middle, middle].tolist()) == _NO_COLOUR


def pipeline_of(config: DoorConfig, vision: VisionStages, meter: StageTimer = no_timing) -> Pipeline:
    """A pipeline with the gallery of the demo."""
    return Pipeline(config, vision, load_gallery(GALLERY, vision.reader.embedder.sha256), meter)


def _name(model: TfliteModel) -> str:
    return Path(model.contract.file).stem


def _ms(laps_ns: Iterable[int]) -> list[float]:
    laps = [each / 1e6 for each in laps_ns]
    return laps[_WARM:] or laps
