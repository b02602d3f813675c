"""Shared use of OpenCV: silenced logs, because callers report every failure themselves, and rotation."""

from __future__ import annotations

import os
from functools import cache

import cv2
import numpy as np

from edge.core.records import BgrImage

_ENVIRONMENT = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",  # UDP loses packets, and a lost packet smears the picture
}
_SILENT = 0  # cv::utils::logging::LOG_LEVEL_SILENT
_ROTATE_CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@cache
def silence_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing to stderr; environment variables of the user are kept."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "OPENCV_LOG_LEVEL" not in os.environ:
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4 and 5
        set_level(_SILENT)


def rotate(pixels: BgrImage, degrees: int, out: BgrImage | None = None) -> BgrImage:
    """Rotate a (H, W, 3) picture clockwise by 0 (no copy), 90, 180 or 270 degrees, into `out` if its shape fits."""
    if not degrees:
        return pixels
    return np.asarray(cv2.rotate(pixels, _ROTATE_CODES[degrees], dst=out), np.uint8)
