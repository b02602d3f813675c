"""Time the causes of a door's start in a fresh process; startup_latency.py runs it.

Prints a JSON array. Imports are late, so that each cause includes the cost of its imports.
"""

from __future__ import annotations

import sys
import time

_WALL_NS, _CPU_NS = time.perf_counter_ns(), time.process_time_ns()

import msgspec  # noqa: E402  part of the timed imports


class Phase(msgspec.Struct, frozen=True):
    """One cause: wall time and processor time of the process, nanoseconds."""

    name: str
    wall_ns: int
    cpu_ns: int


def main(clip: str, gallery: str, models: str) -> list[Phase]:
    """Do the work of a door until its first frame, and time each part.

    Args:
        clip: clip of the camera.
        gallery: path of the gallery.
        models: `ModelsConfig` as JSON.
    """
    wall_ns, cpu_ns = _WALL_NS, _CPU_NS
    phases = []

    def over(name: str) -> None:
        nonlocal wall_ns, cpu_ns
        now = time.perf_counter_ns(), time.process_time_ns()
        phases.append(Phase(name, now[0] - wall_ns, now[1] - cpu_ns))
        wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()

    import numpy  # noqa: F401

    over("import numpy")
    import cv2  # noqa: F401

    over("import opencv")
    from pathlib import Path

    import edge.cli.main
    import edge.runtime.daemon  # noqa: F401
    from edge.core.config import CameraConfig, DetectorConfig, ModelsConfig, QualityConfig
    from edge.recognition.gallery_file import load_gallery
    from edge.vision.camera import open_camera
    from edge.vision.face_sampler import load_vision

    over("import the door")
    vision = load_vision(msgspec.json.decode(models, type=ModelsConfig), DetectorConfig(), QualityConfig())
    over("models")
    load_gallery(Path(gallery), vision.reader.embedder.sha256)
    over("gallery")
    with open_camera(CameraConfig(source=clip)) as camera:
        next(iter(camera))
        over("camera")
    return phases


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(*sys.argv[1:])))
