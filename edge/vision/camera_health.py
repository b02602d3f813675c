"""Detects cameras that deliver unusable frames: frozen, black, overexposed or covered.

A frame equal to the previous one is recognised immediately. Faults are reported, and cleared, only after some seconds.
Camera health does not affect access decisions.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np

from edge.core.config import CameraHealthConfig
from edge.core.records import BgrImage, FloatArray, Frame

_GREEN = 1
_PROBE_POINTS = 20  # sampled points along the shorter side; only if all are equal is the whole picture compared
_CLASSIFY_EVERY_NS = 500_000_000  # interval of fault classification
_STRIDE = 8  # patches average every eighth pixel
_PATCH_GRID = (16, 12)  # columns, rows; patches average out noise and still resolve a door frame
_WHITE = 245.0  # mean grey level from which a patch counts as white
_HYSTERESIS = 1.5  # a fault clears only when the value is better than its limit by this factor


class ImageFault(StrEnum):
    """Fault that makes the frames of a camera unusable."""

    BLACK = "black"
    OVEREXPOSED = "flooded"
    COVERED = "covered"
    FROZEN = "frozen"


FAULT_HINTS = {
    ImageFault.BLACK: "the picture is black; switch on a light, or uncover the lens",
    ImageFault.OVEREXPOSED: "nearly all of the picture is white; shield the lens from the lamp or the sun",
    ImageFault.COVERED: "the picture has no detail; uncover, clean or focus the lens",
    ImageFault.FROZEN: "the camera repeats the same picture; it is reopened",
}


class CameraHealth:
    """Checks the frames of one camera, also after it was reopened; not thread-safe."""

    def __init__(self, config: CameraHealthConfig) -> None:
        # Fault of the camera, or None; set after `blind_after_s`, cleared after `recovered_after_s`
        self.blind: ImageFault | None = None
        self._config = config
        self._spots = b""
        self._kept: BgrImage = np.empty((0, 0, 3), np.uint8)
        self._holds = False  # whether `_kept` is the last frame
        self._looks: ImageFault | None = None  # fault of the last classified frame
        self._judged_ns: int | None = None
        self._changed_ns = 0  # time of the last frame that differed from the previous one
        self._turned_ns = 0  # time of the last frame that agreed with `blind`
        self._opened_ns = 0
        self._seq = -1
        self._now_ns = 0

    @property
    def is_frozen(self) -> bool:
        """Whether the camera should be reopened: frozen since it was opened, or for another `frozen_after_s`."""
        rested_ns = self._now_ns - max(self._changed_ns, self._opened_ns)
        return self.blind is ImageFault.FROZEN and rested_ns >= self._config.frozen_after_s * 1e9

    def update(self, frame: Frame) -> bool:
        """Check one frame of a real camera; returns whether it is a new picture.

        A frame is not new if every byte equals the previous frame: sensor noise makes that impossible unless the
        picture is black, white or smoothed. The first frame is not new either: a camera may be frozen from the start.
        """
        if self._seq < 0:
            self._changed_ns = self._turned_ns = frame.captured_ns
        if frame.seq <= self._seq or self._seq < 0:
            self._opened_ns = frame.captured_ns
        self._seq, self._now_ns = frame.seq, frame.captured_ns
        new = self._frame_changed(frame.pixels)
        if new:
            self._changed_ns = frame.captured_ns
        if self._judged_ns is None or frame.captured_ns - self._judged_ns >= _CLASSIFY_EVERY_NS:
            self._judged_ns = frame.captured_ns
            self._looks = classify_fault(patch_means(frame.pixels), self._config, _HYSTERESIS if self.blind else 1.0)
        self._debounce(frame.captured_ns)
        return new

    def _frame_changed(self, pixels: BgrImage) -> bool:
        step = max(1, min(pixels.shape[:2]) // _PROBE_POINTS)
        spots = pixels[::step, ::step, _GREEN].tobytes()
        if spots != self._spots:
            first = not self._spots
            self._spots, self._holds = spots, False
            return not first
        if self._holds and self._kept.shape == pixels.shape and cv2.norm(pixels, self._kept, cv2.NORM_INF) == 0:
            return False
        # The sampled points miss small changes between them, so the first such frame counts as a copy.
        new = self._holds
        if self._kept.shape != pixels.shape:
            self._kept = np.empty_like(pixels)
        np.copyto(self._kept, pixels)
        self._holds = True
        return new

    def _debounce(self, t_ns: int) -> None:
        reason = self._looks
        clipped = reason in (ImageFault.BLACK, ImageFault.OVEREXPOSED)  # a healthy camera may repeat such frames
        frozen = t_ns - self._changed_ns >= self._config.frozen_after_s * 1e9
        if frozen and not clipped:
            reason = ImageFault.FROZEN
        if (reason is None) == (self.blind is None):
            self._turned_ns = t_ns
            self.blind = reason
            return
        wait_s = self._config.recovered_after_s if reason is None else self._config.blind_after_s
        if reason is ImageFault.FROZEN or t_ns - self._turned_ns >= wait_s * 1e9:
            self._turned_ns = t_ns
            self.blind = reason


def patch_means(pixels: BgrImage) -> FloatArray:
    """Mean green levels of the patches of a (H, W, 3) uint8 BGR picture: (12, 16) float32, 0..255."""
    sparse = np.ascontiguousarray(pixels[::_STRIDE, ::_STRIDE, _GREEN])
    levels = cv2.resize(sparse.astype(np.float32), _PATCH_GRID, interpolation=cv2.INTER_AREA)
    return np.asarray(levels, np.float32)


def classify_fault(levels: FloatArray, config: CameraHealthConfig, slack: float = 1.0) -> ImageFault | None:
    """Fault of a picture by its patches, or None; with `slack` above 1 the limits are stricter by this factor."""
    if levels.max() <= config.black_max_level * slack:
        return ImageFault.BLACK
    if np.count_nonzero(levels >= _WHITE) > config.overexposed_share / slack * levels.size:
        return ImageFault.OVEREXPOSED
    return ImageFault.COVERED if contrast(levels) < config.covered_max_detail * slack else None


def contrast(levels: FloatArray) -> float:
    """Mean curvature of the patches as a share of their mean level; 0 for a uniform picture or an even gradient.

    The share does not depend on the light: scenes have 0.2 and more by day and by night, a hand or a cloth over the
    lens less than 0.05.
    """
    curved = cv2.Laplacian(levels, cv2.CV_32F)[1:-1, 1:-1]
    return float(np.abs(curved).mean() / max(float(levels.mean()), 1.0))
