"""Raspberry Pi camera through picamera2, which is a package of the operating system, not of PyPI."""

from __future__ import annotations

import importlib
import time
from concurrent.futures import CancelledError
from typing import Any

import numpy as np

from edge.core.config import CameraConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import BgrImage
from edge.vision.camera_live import LiveCamera, capture_time_ns
from edge.vision.camera_source import source_of
from edge.vision.opencv import rotate

_BUFFERS = 4  # one being filled, one waiting, two in reserve
_INSTALL = "sudo apt install python3-picamera2, and create the environment with  python3 -m venv --system-site-packages"


class PiDevice:
    """A started Picamera2; frames are copied from the buffer of the driver, which is returned immediately."""

    def __init__(self, name: str, camera: Any, mapped_array: Any, rotate_deg: int) -> None:
        self._name = name
        self._camera = camera
        self._mapped_array = mapped_array
        self._rotate_deg = rotate_deg

    def read(self, into: BgrImage | None) -> tuple[BgrImage, int]:
        """See `edge.vision.camera_live.CaptureDevice`."""
        try:
            request = self._camera.capture_request()
            try:
                stamp_ns = int(request.get_metadata().get("SensorTimestamp", 0))
                with self._mapped_array(request, "main") as mapped:
                    pixels = self._copy(mapped.array, into)
            finally:
                request.release()
        except (RuntimeError, OSError, CancelledError) as error:
            raise CameraLostError(
                f"{self._name}: delivers no more frames ({error or 'cancelled'}); check its cable"
            ) from error
        return pixels, capture_time_ns(_on_monotonic_clock(stamp_ns))

    def interrupt(self) -> None:
        """Cancel the waiting capture, if this picamera2 is new enough to support it."""
        cancel = getattr(self._camera, "cancel_all_and_flush", None)
        if cancel is not None:
            cancel()

    def close(self) -> None:
        self._camera.stop()
        self._camera.close()

    def _copy(self, picture: BgrImage, into: BgrImage | None) -> BgrImage:
        if self._rotate_deg:
            return rotate(picture, self._rotate_deg, into)
        if into is None or into.shape != picture.shape:
            return picture.copy()
        np.copyto(into, picture)
        return into


def open_picamera(config: CameraConfig) -> LiveCamera:
    """Open `picamera2`, or `picamera2:1` for the second camera, and so on.

    The sensor rotates by 180 degrees, this module by 90 and 270.

    Raises:
        CameraError: picamera2 is not installed, or the camera does not exist or is in use.
    """
    picamera2, libcamera = _import_picamera2()
    name = source_of(config.source).label
    number = config.source.partition(":")[2]
    if number and not number.isdecimal():
        raise CameraError(f"{name}: write picamera2, or picamera2:1 for the second camera")
    try:
        camera = picamera2.Picamera2(int(number or 0))
    except (RuntimeError, IndexError) as error:
        raise CameraError(f"{name}: cannot be opened; {_available(picamera2)}; it may also be in use") from error
    half_turn = config.rotate_deg == 180
    period_us = round(1e6 / config.fps)
    try:
        camera.configure(
            camera.create_video_configuration(
                # libcamera names the bytes from the last to the first: its RGB888 is OpenCV's BGR
                main={"size": (config.width_px, config.height_px), "format": "RGB888"},
                transform=libcamera.Transform(hflip=half_turn, vflip=half_turn),
                buffer_count=_BUFFERS,
                controls={"FrameDurationLimits": (period_us, period_us)},
            )
        )
        camera.start()
    except (RuntimeError, ValueError) as error:
        camera.close()
        size = f"{config.width_px}x{config.height_px} px"
        raise CameraError(f"{name}: cannot deliver {size} ({error}); change [camera] width_px and height_px") from error
    device = PiDevice(name, camera, picamera2.MappedArray, 0 if half_turn else config.rotate_deg)
    return LiveCamera(name, device, config.lost_after_s)


def _import_picamera2() -> tuple[Any, Any]:
    try:
        return importlib.import_module("picamera2"), importlib.import_module("libcamera")
    except ImportError as error:
        raise CameraError(f"picamera2 cannot be imported ({error}); on a Raspberry Pi: {_INSTALL}") from error


def _available(picamera2: Any) -> str:
    models = [str(info.get("Model", "?")) for info in picamera2.Picamera2.global_camera_info()]
    return f"cameras found: {', '.join(models)}" if models else "no camera found; check its ribbon cable"


def _on_monotonic_clock(stamp_ns: int) -> tuple[int, ...]:
    """Time stamp of a sensor on the monotonic clock, in both interpretations.

    libcamera documents SensorTimestamp as CLOCK_BOOTTIME, but the kernel stamps its buffers with CLOCK_MONOTONIC. The
    two differ only on a machine that was suspended, and then the wrong interpretation is implausible.
    """
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return stamp_ns, stamp_ns - asleep_ns
