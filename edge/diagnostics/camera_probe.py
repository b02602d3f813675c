"""A look through a camera: some of its frames, and how fast they came."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.config import CameraConfig
from edge.core.errors import CameraError
from edge.core.records import FloatArray, Frame
from edge.vision.camera import open_camera

_LOOK_NS = 2_500_000_000  # cameras take about a second to find their exposure
_SETTLE_NS = 1_000_000_000
_RECORDED_FRAMES = 150
_KEPT = 8
_DETAIL_WIDTH_PX = 320  # details finer than two pixels of 640 are mostly noise
_BLOCK_PX = 32
_LAPLACIAN_GAIN = 20.0  # of white noise's variance, by the kernel 0 1 0 / 1 -4 1 / 0 1 0


@dataclass(frozen=True, slots=True)
class CameraSample:
    """What was seen.

    Attributes:
        name: of the camera, as it may be shown.
        recorded: it is a clip or a folder of stills.
        fps: frames that came in a second, skipped ones included; 0 for a recording.
        frames: some of them, copies, in the order of their time; at least one.
    """

    name: str
    recorded: bool
    fps: float
    frames: tuple[Frame, ...]

    @property
    def size(self) -> str:
        height, width = self.frames[0].pixels.shape[:2]
        return f"{width}x{height} px"


def sample_camera(config: CameraConfig) -> CameraSample:
    """Look through a camera for two and a half seconds, or through the first frames of a recording.

    Raises:
        CameraError, CameraLost: it cannot be opened, or gives no frames.
    """
    times_ns: list[int] = []
    kept = _Sampler()
    first: Frame | None = None
    with open_camera(config) as camera:
        for frame in camera:
            times_ns.append(frame.captured_ns)
            looked_ns = frame.captured_ns - times_ns[0]
            first = first or _copy(frame)
            if camera.recorded or looked_ns >= _SETTLE_NS:
                kept.add(frame)
            if len(times_ns) >= _RECORDED_FRAMES if camera.recorded else looked_ns >= _LOOK_NS:
                break
        if first is None:
            raise CameraError(f"{camera.name}: gives no frames")
        span_ns = times_ns[-1] - times_ns[0]
        count = len(times_ns) - 1 + camera.dropped
        fps = 0.0 if camera.recorded or not span_ns else count * 1e9 / span_ns
        return CameraSample(camera.name, camera.recorded, fps, tuple(kept.frames) or (first,))


def _copy(frame: Frame) -> Frame:
    return Frame(frame.pixels.copy(), frame.seq, frame.captured_ns)


class _Sampler:
    """Keeps a few frames of however many, evenly."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._stride = 1
        self._count = 0

    def add(self, frame: Frame) -> None:
        if self._count % self._stride == 0:
            self.frames.append(_copy(frame))
            if len(self.frames) > _KEPT:
                self.frames = self.frames[::2]
                self._stride *= 2
        self._count += 1


def sharpness(frames: tuple[Frame, ...]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of a scene at 320 px width, less what its noise adds.

    The median of the frames, in grey levels squared. The noise comes from the twentieth of the picture that differs
    least between two of them: there nothing moves.
    """
    pictures = [_small(frame) for frame in frames]
    found = float(np.median([cv2.Laplacian(picture, cv2.CV_32F).var() for picture in pictures]))
    steps = [_least(b - a) for a, b in itertools.pairwise(pictures)]
    noise_sq = min(steps) / 2 if steps else 0.0  # of one frame, of the two that a difference has
    return max(found - _LAPLACIAN_GAIN * noise_sq, 0.0)


def _least(difference: FloatArray) -> float:
    """Mean square of a difference in its quietest blocks."""
    height, width = difference.shape
    blocks = cv2.resize(difference**2, (width // _BLOCK_PX, max(1, height // _BLOCK_PX)), interpolation=cv2.INTER_AREA)
    return float(np.percentile(blocks, 5))


def _small(frame: Frame) -> FloatArray:
    height, width = frame.pixels.shape[:2]
    grey = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    size = (_DETAIL_WIDTH_PX, max(1, round(height * _DETAIL_WIDTH_PX / width)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
