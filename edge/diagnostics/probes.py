"""What is there to be set up: cameras that give frames, and a broker that takes us."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.config import CameraConfig
from edge.core.errors import ThresholdError
from edge.diagnostics.camera_probe import sample_camera

# Nodes of a Raspberry Pi's decoders, scalers and raw sensors: no pictures to be had there without libcamera.
_NO_CAMERA = re.compile(r"^(bcm2835-(codec|isp)|pispbe|rpi|rp1-cfe|unicam)")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A camera that gives frames, and what they are like."""

    source: str
    told: str


def camera_candidates(dev: Path = Path("/dev"), sys: Path = Path("/sys")) -> Iterator[str]:
    """What may be a camera on this board: the Pi's own, then V4L2 devices by their number.

    Args:
        dev, sys: where those file systems are mounted.
    """
    if importlib.util.find_spec("picamera2"):
        yield "picamera2"
    nodes = [path for path in dev.glob("video*") if path.name.removeprefix("video").isdecimal()]
    for path in sorted(nodes, key=lambda path: int(path.name.removeprefix("video"))):
        name = sys / "class/video4linux" / path.name / "name"
        if not (name.exists() and _NO_CAMERA.match(name.read_text())):
            yield str(path)


def try_camera(config: CameraConfig, source: str) -> ProbeResult:
    """Look through a camera.

    Raises:
        CameraError, CameraLost: it cannot be opened, or gives no frames.
    """
    seen = sample_camera(msgspec.structs.replace(config, source=source))
    pace = "a recording" if seen.recorded else f"{seen.fps:.0f} frames a second"
    return ProbeResult(source, f"{seen.size}, {pace}")


def first_working(config: CameraConfig, candidates: Iterator[str]) -> list[ProbeResult]:
    """Those of the candidates that give frames."""
    found = []
    for source in candidates:
        try:
            found.append(try_camera(config, source))
        except ThresholdError:
            continue
    return found
