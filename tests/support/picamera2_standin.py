"""Stand-in for picamera2 and libcamera with the documented calls and errors only.

`install` puts both modules into sys.modules; the returned `Sensor` provides the pictures. Buffers are
reused and overwritten after their release, like the real ones.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from threading import Condition
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.core.records import BgrImage

_SCRIBBLE = 0xEE
_CONTROLS = frozenset({"FrameDurationLimits", "FrameRate", "ExposureTime", "AnalogueGain", "AeEnable", "AwbEnable"})


@dataclass
class Sensor:
    """Pictures of the camera and recorded calls."""

    models: tuple[str, ...] = ("imx708",)
    busy: bool = False
    changed: Condition = field(default_factory=Condition)
    light: deque[tuple[BgrImage, int]] = field(default_factory=deque)
    failing: bool = False
    cancelled: bool = False
    configuration: dict[str, Any] = field(default_factory=dict)
    opened: int = 0
    closed: int = 0
    lent: int = 0

    def show(self, *pictures: BgrImage, age_ns: int = 0) -> None:
        """Expose pictures, taken `age_ns` ago."""
        with self.changed:
            stamp_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - age_ns
            self.light.extend((picture, stamp_ns) for picture in pictures)
            self.changed.notify_all()

    def break_down(self) -> None:
        with self.changed:
            self.failing = True
            self.changed.notify_all()


class Transform:
    """libcamera.Transform."""

    __slots__ = ("hflip", "vflip")

    def __init__(self, *, hflip: bool = False, vflip: bool = False) -> None:
        self.hflip, self.vflip = bool(hflip), bool(vflip)


class Request:
    """CompletedRequest with one borrowed buffer."""

    __slots__ = ("_buffer", "_metadata", "_references", "_sensor")

    def __init__(self, sensor: Sensor, buffer: BgrImage, stamp_ns: int) -> None:
        self._sensor, self._buffer, self._references = sensor, buffer, 1
        self._metadata = {"SensorTimestamp": stamp_ns, "ExposureTime": 8000}
        sensor.lent += 1

    def get_metadata(self) -> dict[str, int]:
        self._check()
        return dict(self._metadata)

    def make_array(self, name: str) -> BgrImage:
        self._check(name)
        return self._buffer.copy()

    def acquire(self) -> None:
        self._check()
        self._references += 1

    def release(self) -> None:
        self._references -= 1
        if self._references < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        if not self._references:
            self._buffer[:] = _SCRIBBLE
            with self._sensor.changed:
                self._sensor.lent -= 1
                self._sensor.changed.notify_all()

    def _check(self, name: str = "main") -> None:
        assert self._references > 0, "used after release"
        if name != "main":
            raise RuntimeError(f"Stream {name!r} is not defined")


class MappedArray:
    """picamera2.MappedArray: the buffer, valid inside the context only."""

    __slots__ = ("_array", "_request", "_stream")

    def __init__(self, request: Request, stream: str, reshape: bool = True) -> None:
        self._request, self._stream = request, stream
        self._array: BgrImage | None = None

    def __enter__(self) -> MappedArray:
        self._request._check(self._stream)
        self._array = self._request._buffer
        return self

    def __exit__(self, *_: object) -> None:
        del self._array

    @property
    def array(self) -> BgrImage | None:
        return self._array


def install(monkeypatch: pytest.MonkeyPatch, sensor: Sensor) -> None:  # noqa: C901 one stand-in
    """Make `import picamera2` and `import libcamera` find the stand-ins, for one test."""

    class Picamera2:
        __slots__ = ("_configured", "_open", "_shape", "_started")

        @staticmethod
        def global_camera_info() -> list[dict[str, Any]]:
            return [{"Model": model, "Location": 2, "Rotation": 0, "Num": i} for i, model in enumerate(sensor.models)]

        def __init__(self, camera_num: int = 0) -> None:
            if sensor.busy:
                raise RuntimeError("Camera __init__ sequence did not complete.")
            _ = sensor.models[camera_num]  # IndexError, as in picamera2
            self._open, self._configured, self._started = True, False, False
            self._shape = (0, 0, 3)
            sensor.busy = True
            sensor.opened += 1

        def create_video_configuration(
            self,
            main: dict[str, Any] | None = None,
            lores: dict[str, Any] | None = None,
            raw: dict[str, Any] | None = None,
            transform: Transform | None = None,
            colour_space: object = None,
            buffer_count: int = 6,
            controls: dict[str, Any] | None = None,
            display: str | None = "main",
            encode: str | None = "main",
            queue: bool = True,
        ) -> dict[str, Any]:
            if not self._open:
                raise RuntimeError("Camera not opened")
            main, transform = dict(main or {}), transform or Transform()
            if set(main) - {"format", "size"}:
                raise ValueError(f"Bad key in {set(main)}: valid stream configuration keys are ('format', 'size')")
            main = {"format": "XBGR8888", "size": (1280, 720)} | main
            return {
                "main": main,
                "transform": transform,
                "buffer_count": buffer_count,
                "controls": dict(controls or {}),
                "queue": queue,
            }

        def configure(self, camera_config: dict[str, Any]) -> None:
            if self._started:
                raise RuntimeError("Camera must be stopped before configuring")
            if not isinstance(camera_config["transform"], Transform):
                raise RuntimeError("Transform has incorrect type")
            unknown = set(camera_config["controls"]) - _CONTROLS
            if unknown:
                raise RuntimeError(f"Control {unknown.pop()} is not advertised by libcamera")
            size = camera_config["main"]["size"]
            if not isinstance(size, tuple) or size[0] % 2 or size[1] % 2:
                raise RuntimeError("width and height should be even")
            assert camera_config["main"]["format"] == "RGB888", "the stand-in has only this format"
            sensor.configuration = camera_config
            self._shape = (size[1], size[0], 3)
            self._configured = True

        def start(self) -> None:
            if not self._configured:
                raise RuntimeError("Camera has not been configured")
            self._started = True

        def capture_request(self) -> Request:
            """Block until a picture and a free buffer are available."""
            if not self._started:
                raise RuntimeError("Camera has not been started")
            free = sensor.configuration["buffer_count"]
            with sensor.changed:
                sensor.changed.wait_for(
                    lambda: sensor.failing or sensor.cancelled or (sensor.light and sensor.lent < free)
                )
                if sensor.cancelled:
                    sensor.cancelled = False
                    raise CancelledError
                if sensor.failing:
                    raise RuntimeError("Camera frontend has timed out!")
                picture, stamp_ns = sensor.light.popleft()
                assert picture.shape == self._shape
                return Request(sensor, _expose(picture, sensor.configuration["transform"]), stamp_ns)

        def cancel_all_and_flush(self) -> None:
            with sensor.changed:
                sensor.cancelled = True
                sensor.changed.notify_all()

        def stop(self) -> None:
            self._started = False

        def close(self) -> None:
            if not self._open:
                return
            self._open = self._started = self._configured = False
            sensor.busy = False
            sensor.closed += 1

    picamera2, libcamera = ModuleType("picamera2"), ModuleType("libcamera")
    picamera2.Picamera2, picamera2.MappedArray = Picamera2, MappedArray  # type: ignore[attr-defined]
    libcamera.Transform = Transform  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)


def _expose(picture: BgrImage, transform: Transform) -> BgrImage:
    """Return a new buffer with the picture in the order of the sensor."""
    axes = tuple(axis for axis, flip in enumerate((transform.vflip, transform.hflip)) if flip)
    return np.ascontiguousarray(np.flip(picture, axes), np.uint8).copy()
