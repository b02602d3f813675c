"""Whether a camera that gives frames also sees: frozen, black, flooded with light, or covered.

A copy of the frame before is no evidence of anything, so it is recognised at once; the rest needs seconds to be
believed and seconds to be over. Nothing here decides who may pass.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np

from edge.core.config import CameraHealthConfig
from edge.core.records import BgrImage, FloatArray, Frame

_GREEN = 1
_PROBE_POINTS = 20  # points compared along the shorter side before the whole picture is
_CLASSIFY_EVERY_NS = 500_000_000  # the patches are looked at once in so long
_STRIDE = 8  # every eighth pixel flows into the patches
_PATCH_GRID = (16, 12)  # columns, rows: large enough that noise averages out of them, small enough for a door frame
_WHITE = 245.0  # mean grey level of a patch that is all but white
_HYSTERESIS = 1.5  # what counts as blind already must become better by this factor to count as seeing


class ImageFault(StrEnum):
    """Why a camera that gives frames is of no use."""

    BLACK = "black"
    OVEREXPOSED = "flooded"
    COVERED = "covered"
    FROZEN = "frozen"


FAULT_HINTS = {
    ImageFault.BLACK: "nothing in the picture is brighter than black; is there light, is the lens free?",
    ImageFault.OVEREXPOSED: "nearly all of the picture is white; does a lamp or the sun shine into it?",
    ImageFault.COVERED: "there is no detail in the picture; is the lens covered, fogged or far out of focus?",
    ImageFault.FROZEN: "it gives the same picture for ever; it is opened anew",
}


class CameraHealth:
    """Watches the frames of one camera, also after it was reopened; not thread-safe."""

    def __init__(self, config: CameraHealthConfig) -> None:
        # Why it sees nothing, or None; believed after `blind_after_s`, over after `recovered_after_s`
        self.blind: ImageFault | None = None
        self._config = config
        self._spots = b""
        self._kept: BgrImage = np.empty((0, 0, 3), np.uint8)
        self._holds = False  # whether `_kept` is the last frame
        self._looks: ImageFault | None = None  # what the patches say
        self._judged_ns: int | None = None
        self._changed_ns = 0  # the last time that a frame differed from the one before
        self._turned_ns = 0  # the last time that the answer was the opposite
        self._opened_ns = 0
        self._seq = -1
        self._now_ns = 0

    @property
    def is_frozen(self) -> bool:
        """Whether the camera should be reopened: frozen ever since it was opened, or for `frozen_after_s` again."""
        rested_ns = self._now_ns - max(self._changed_ns, self._opened_ns)
        return self.blind is ImageFault.FROZEN and rested_ns >= self._config.frozen_after_s * 1e9

    def update(self, frame: Frame) -> bool:
        """Take one frame of a real camera; returns whether it is a new picture.

        Not new is what equals the frame before in every byte, as no sensor gives it twice unless all is black, white
        or smoothed away; and the very first one, since a camera may be frozen from the start.
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
        # The spots alone cannot tell a copy from a small change far away: the first such frame counts as a copy.
        new = self._holds
        if self._kept.shape != pixels.shape:
            self._kept = np.empty_like(pixels)
        np.copyto(self._kept, pixels)
        self._holds = True
        return new

    def _debounce(self, t_ns: int) -> None:
        reason = self._looks
        clipped = reason in (ImageFault.BLACK, ImageFault.OVEREXPOSED)  # there a healthy camera may give equal frames
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
    """(12, 16) float32, 0..255: mean green levels of the patches of a (H, W, 3) uint8 BGR picture."""
    sparse = np.ascontiguousarray(pixels[::_STRIDE, ::_STRIDE, _GREEN])
    levels = cv2.resize(sparse.astype(np.float32), _PATCH_GRID, interpolation=cv2.INTER_AREA)
    return np.asarray(levels, np.float32)


def classify_fault(levels: FloatArray, config: CameraHealthConfig, slack: float = 1.0) -> ImageFault | None:
    """Why the patches of one picture show nothing, or None; with `slack` above 1 they must be better by this factor."""
    if levels.max() <= config.black_max_level * slack:
        return ImageFault.BLACK
    if np.count_nonzero(levels >= _WHITE) > config.overexposed_share / slack * levels.size:
        return ImageFault.OVEREXPOSED
    return ImageFault.COVERED if contrast(levels) < config.covered_max_detail * slack else None


def contrast(levels: FloatArray) -> float:
    """Mean curvature of the patches as a share of their mean level, 0 for an even or evenly shaded picture.

    A share, so that it stays when the light goes: scenes give 0.2 and more by day and by night, a hand or a cloth
    before the lens below 0.05.
    """
    curved = cv2.Laplacian(levels, cv2.CV_32F)[1:-1, 1:-1]
    return float(np.abs(curved).mean() / max(float(levels.mean()), 1.0))
