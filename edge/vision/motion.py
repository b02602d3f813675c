"""Cheap motion test that gates the detector.

Every eighth pixel of the green channel, blurred against noise, is compared with a slowly adapting background.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.core.config import MotionConfig
from edge.core.records import BgrImage, FloatArray, Frame

_STRIDE = 8
_BACKGROUND_RATE = 0.1  # weight of each frame in the running average of the background
_GREEN = 1


class MotionDetector:
    """Decides which frames the detector processes; not thread-safe."""

    def __init__(self, config: MotionConfig) -> None:
        self._config = config
        self._background: FloatArray | None = None
        self._moved_ns = 0
        self._looked_ns = 0

    def has_motion(self, frame: Frame) -> bool:
        """Whether to process this frame: motion now or within `keep_awake_s`, or `idle_scan_every_s` is over."""
        if not self._config.enabled:
            return True
        if self._pixels_changed(np.ascontiguousarray(frame.pixels[::_STRIDE, ::_STRIDE, _GREEN])):
            self._moved_ns = frame.captured_ns
            self._looked_ns = frame.captured_ns
            return True
        lingering = frame.captured_ns - self._moved_ns < self._config.keep_awake_s * 1e9
        patrol = frame.captured_ns - self._looked_ns >= self._config.idle_scan_every_s * 1e9
        if lingering or patrol:
            self._looked_ns = frame.captured_ns
            return True
        return False

    def _pixels_changed(self, sparse: BgrImage) -> bool:
        now = cv2.blur(sparse, (3, 3)).astype(np.float32)
        if self._background is None or self._background.shape != now.shape:
            self._background = now
            return True
        changed = np.count_nonzero(cv2.absdiff(now, self._background) > self._config.noise_grey_levels)
        cv2.accumulateWeighted(now, self._background, _BACKGROUND_RATE)
        return bool(changed > self._config.min_changed_share * now.size)
