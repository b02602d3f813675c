"""V4L2 devices and network streams, read through OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.core.config import CameraConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import BgrImage
from edge.vision.camera_live import LiveCamera, capture_time_ns
from edge.vision.camera_source import source_of
from edge.vision.opencv import rotate, silence_opencv

_OPEN_TIMEOUT_MS = 5000


class OpenCvDevice:
    """An opened cv2.VideoCapture.

    Args:
        name: name for messages.
        capture: opened capture.
        rotate_deg: clockwise rotation of the pictures.
        driver_stamps: whether the position of the capture is the monotonic capture time of the driver.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, *, rotate_deg: int, driver_stamps: bool) -> None:
        self._name = name
        self._capture = capture
        self._rotate_deg = rotate_deg
        self._driver_stamps = driver_stamps
        self._unturned: BgrImage | None = None

    def read(self, into: BgrImage | None) -> tuple[BgrImage, int]:
        """See `edge.vision.camera_live.CaptureDevice`."""
        got, picture = self._capture.read(self._unturned if self._rotate_deg else into)
        if not got or picture is None:
            raise CameraLostError(f"{self._name}: delivers no more frames; check its cable or network")
        stamps_ns = (round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6),) if self._driver_stamps else ()
        t_ns = capture_time_ns(stamps_ns)
        pixels = np.asarray(picture, np.uint8)
        if self._rotate_deg:
            self._unturned = pixels
            pixels = rotate(pixels, self._rotate_deg, into)
        return pixels, t_ns

    def interrupt(self) -> None:
        """Do nothing: the read timeout ends a blocked read, and a release from another thread may crash."""

    def close(self) -> None:
        self._capture.release()


def open_v4l2(config: CameraConfig) -> LiveCamera:
    """Open a V4L2 device such as /dev/video0.

    uvcvideo and most other drivers stamp each buffer on the monotonic clock, and OpenCV returns that time; a time
    stamp that is not within the last second is replaced by the time of the read.

    Raises:
        CameraError: the device does not exist, is in use, or is not a camera.
    """
    silence_opencv()
    name = source_of(config.source).label
    if not Path(config.source).exists():
        raise CameraError(f"{name}: no such camera; {_available_devices()}")
    capture = cv2.VideoCapture(config.source, cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise CameraError(
            f"{name}: cannot be opened: not a camera, in use by another program, or not permitted "
            f"(is this user in group 'video'?); {_available_devices()}"
        )
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width_px)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height_px)
    capture.set(cv2.CAP_PROP_FPS, config.fps)
    device = OpenCvDevice(name, capture, rotate_deg=config.rotate_deg, driver_stamps=True)
    return LiveCamera(name, device, config.lost_after_s)


def open_stream(config: CameraConfig) -> LiveCamera:
    """Open an RTSP or HTTP stream; RTSP over TCP.

    The time stamps of a network stream are on the clock of the sender, so the time of a frame is that of its decoding.

    Raises:
        CameraError: the address cannot be reached, refuses the login, or is not a video stream.
    """
    silence_opencv()
    name = source_of(config.source).label
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(config.lost_after_s * 1000)]
    capture = cv2.VideoCapture(config.source, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise CameraError(
            f"{name}: no video stream at this address; check address, user and password, and try it with ffplay"
        )
    device = OpenCvDevice(name, capture, rotate_deg=config.rotate_deg, driver_stamps=False)
    return LiveCamera(name, device, config.lost_after_s)


def _available_devices() -> str:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    return f"found: {', '.join(devices)}" if devices else "this machine has no /dev/video*"
