"""How fast this machine is: every stage, the bare models beside them, and what the pipeline adds.

The picture is a frame of the bundled clip, 640x480 with one face. Bare model runs and whole steps take turns, so that
a machine that slows down slows both; medians are compared.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import msgspec

from edge import __version__
from edge.config import DetectorConfig, DoorConfig, ModelsConfig, MotionConfig, QualityConfig, VerdictConfig
from edge.demo.show import CLIP, GALLERY
from edge.host import memory_mb
from edge.identity.gallery import load_gallery
from edge.pipeline import Pipeline
from edge.records import Frame, Pixels
from edge.stopwatch import Stopwatch, Timing, timing
from edge.vision.camera import Clip
from edge.vision.reader import Vision, load_vision

_FRAME_NS = 66_666_667  # 15 frames a second, in the frames' own time
_STARTS = 5
_START = "import edge.pipeline, edge.vision.reader as r, edge.config as c; r.load_vision({})".format(
    "c.ModelsConfig(), c.DetectorConfig(), c.QualityConfig()"
)


class Report(msgspec.Struct, frozen=True):
    """What `edge bench --json` prints; times are medians and 95th percentiles in milliseconds.

    Attributes:
        raw: bare `invoke()` of each model, run in turn with the pipeline.
        stages: each stage within the pipeline, one face, every stage in every frame.
        one_face, no_face: a whole step of the pipeline, 640x480.
        overhead: one_face / sum of the raw medians.
        start_ms: from starting the process until all models are loaded.
    """

    version: str
    machine: str
    python: str
    runtime: str
    threads: int
    raw: dict[str, Timing]
    stages: dict[str, Timing]
    one_face: Timing
    no_face: Timing
    fps_one_face: float
    fps_no_face: float
    overhead: float
    rss_mb: float
    peak_mb: float
    start_ms: float


def bench(threads: int, repeats: int) -> Report:
    """Measure everything, in about a minute on a small board."""
    start_ms = _start_ms()
    models = ModelsConfig(threads=threads)
    face, empty = _frames(load_vision(models, DetectorConfig(), QualityConfig()))
    watch = Stopwatch()
    vision = load_vision(models, DetectorConfig(), QualityConfig(), watch)
    pipeline = Pipeline(_every_stage_every_frame(), vision, load_gallery(GALLERY, vision.reader.embedder.sha256), watch)
    runs: dict[str, list[int]] = {"one_face": [], **{model.contract.job: [] for model in vision.models}}
    for number in range(repeats + 10):
        if number == 10:  # caches are warm
            watch.clear()
            runs = {name: [] for name in runs}
        for model in vision.models:
            runs[model.contract.job].append(_lap(model.invoke))
        runs["one_face"].append(_lap(partial(pipeline.step, Frame(face, number, number * _FRAME_NS))))
    stages = watch.timings()
    away = Pipeline(_every_stage_every_frame(), vision, load_gallery(GALLERY, vision.reader.embedder.sha256))
    none = [_lap(partial(away.step, Frame(empty, number, number * _FRAME_NS))) for number in range(repeats)]
    raw = {model.contract.job: timing(runs[model.contract.job]) for model in vision.models}
    one_face, no_face = timing(runs["one_face"]), timing(none)
    rss_mb, peak_mb = memory_mb()
    return Report(
        version=__version__,
        machine=f"{platform.machine()}, {_processor()}",
        python=platform.python_version(),
        runtime=vision.models[0].runtime,
        threads=threads,
        raw=raw,
        stages=stages,
        one_face=one_face,
        no_face=no_face,
        fps_one_face=round(1e3 / one_face.median_ms, 1),
        fps_no_face=round(1e3 / no_face.median_ms, 1),
        overhead=round(one_face.median_ms / sum(each.median_ms for each in raw.values()), 3),
        rss_mb=round(rss_mb, 1),
        peak_mb=round(peak_mb, 1),
        start_ms=start_ms,
    )


def table(report: Report) -> str:
    """The report for people."""
    lines = [
        f"threshold-edge {report.version} on {report.machine}, Python {report.python}, {report.runtime}, "
        f"{report.threads} thread{'s' if report.threads > 1 else ''}",
        f"{'':24}{'median ms':>12}{'p95 ms':>12}",
        *(_row(f"stage {name}", each) for name, each in report.stages.items()),
        *(_row(f"bare {name}", each) for name, each in report.raw.items()),
        _row("step, one face", report.one_face),
        _row("step, no face", report.no_face),
        f"{report.fps_one_face:.0f} frames a second with a face, every stage in every frame; "
        f"{report.fps_no_face:.0f} with none",
        f"step with one face / sum of bare models: {report.overhead:.2f}",
        f"memory {report.rss_mb:.0f} MB, peak {report.peak_mb:.0f} MB; start to models loaded {report.start_ms:.0f} ms",
    ]
    return "\n".join(lines)


def _row(name: str, each: Timing) -> str:
    return f"{name:24}{each.median_ms:12.3f}{each.p95_ms:12.3f}"


def _every_stage_every_frame() -> DoorConfig:
    verdict = VerdictConfig(sample_every_s=0.0, recheck_every_s=1e-9)
    return DoorConfig(site="bench", door="bench", motion=MotionConfig(enabled=False), verdict=verdict)


def _frames(vision: Vision) -> tuple[Pixels, Pixels]:
    """The clip's frame with the largest single face, and its first, which is empty."""
    best, best_area, empty = None, 0.0, None
    with Clip(CLIP) as clip:
        for frame in clip:
            faces = vision.detector.detect(frame)
            if empty is None and not faces:
                empty = frame.pixels.copy()
            if len(faces) == 1 and faces[0].box.area > best_area:
                best, best_area = frame.pixels.copy(), faces[0].box.area
    assert best is not None, "the bundled clip shows a face"
    assert empty is not None, "the bundled clip begins empty"
    return best, empty


def _lap(run: Callable[[], object]) -> int:
    began = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - began


def _start_ms() -> float:
    laps = [_lap(lambda: subprocess.run([sys.executable, "-c", _START], check=True)) for _ in range(_STARTS)]
    return timing(laps).median_ms


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[-1] if names else "unknown processor"
