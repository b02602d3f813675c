"""Camera probes for checks and setup: candidate cameras, and a sample of frames."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.config import CameraConfig
from edge.core.errors import CameraError
from edge.core.records import Frame
from edge.vision.camera import open_camera

_SAMPLE_NS = 2_500_000_000  # cameras take about a second to find their exposure
_SETTLE_NS = 1_000_000_000
_RECORDED_FRAMES = 150
_KEPT = 8
# Nodes of a Raspberry Pi's decoders, scalers and raw sensors, which give no pictures without libcamera.
_NO_CAMERA = re.compile(r"^(bcm2835-(codec|isp)|pispbe|rpi|rp1-cfe|unicam)")


@dataclass(frozen=True, slots=True)
class CameraSample:
    """Frames sampled from a camera."""

    name: str  # without passwords
    recorded: bool  # whether it is a clip or a folder of stills
    fps: float  # measured frames a second, skipped ones included; 0 for a recording
    frames: tuple[Frame, ...]  # copies of some frames, in order of time; at least one

    @property
    def size(self) -> str:
        """Width and height as text."""
        height, width = self.frames[0].pixels.shape[:2]
        return f"{width}x{height} px"


def sample_camera(config: CameraConfig) -> CameraSample:
    """Sample a camera for two and a half seconds, or the first frames of a recording.

    Raises:
        CameraError, CameraLostError: it cannot be opened, or gives no frames.
    """
    times_ns: list[int] = []
    kept: list[Frame] = []
    stride, settled = 1, 0
    first: Frame | None = None
    with open_camera(config) as camera:
        for frame in camera:
            times_ns.append(frame.captured_ns)
            elapsed_ns = frame.captured_ns - times_ns[0]
            first = first or _copy(frame)
            if camera.recorded or elapsed_ns >= _SETTLE_NS:
                if settled % stride == 0:
                    kept.append(_copy(frame))
                settled += 1
                if len(kept) > _KEPT:  # keep a few, evenly spread
                    kept, stride = kept[::2], stride * 2
            if len(times_ns) >= _RECORDED_FRAMES if camera.recorded else elapsed_ns >= _SAMPLE_NS:
                break
        if first is None:
            raise CameraError(f"{camera.name}: gives no frames")
        span_ns = times_ns[-1] - times_ns[0]
        count = len(times_ns) - 1 + camera.dropped
        fps = 0.0 if camera.recorded or not span_ns else count * 1e9 / span_ns
        return CameraSample(camera.name, camera.recorded, fps, tuple(kept) or (first,))


def _copy(frame: Frame) -> Frame:
    return Frame(frame.pixels.copy(), frame.seq, frame.captured_ns)


def camera_candidates(dev: Path = Path("/dev"), sys: Path = Path("/sys")) -> Iterator[str]:
    """Possible camera sources of this board: picamera2, then V4L2 devices by number."""
    if importlib.util.find_spec("picamera2"):
        yield "picamera2"
    nodes = [path for path in dev.glob("video*") if path.name.removeprefix("video").isdecimal()]
    for path in sorted(nodes, key=lambda path: int(path.name.removeprefix("video"))):
        name = sys / "class/video4linux" / path.name / "name"
        if not (name.exists() and _NO_CAMERA.match(name.read_text())):
            yield str(path)


def probe_camera(config: CameraConfig, source: str) -> str:
    """Sample a camera; returns its size and frame rate as text.

    Raises:
        CameraError, CameraLostError: it cannot be opened, or gives no frames.
    """
    seen = sample_camera(msgspec.structs.replace(config, source=source))
    return f"{seen.size}, {'a recording' if seen.recorded else f'{seen.fps:.0f} frames per second'}"
