"""One interface for all cameras: Pi camera, V4L2, network stream, clip, folder of stills."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edge.core.config import CameraConfig
from edge.core.errors import CameraError
from edge.core.records import Frame
from edge.vision.camera_file import ImageFolderCamera, VideoFileCamera
from edge.vision.camera_opencv import open_stream, open_v4l2
from edge.vision.camera_pi import open_picamera
from edge.vision.camera_source import SourceKind, source_of

_KINDS = "picamera2, /dev/videoN, an rtsp:// or http:// address, a video file, or a folder of pictures"


class Camera(Protocol):
    """Source of frames. Leaving the context, or `close`, releases it; `close` can be called again.

    Attributes:
        name: name for logs and messages, without a password.
        live: frame times are on the monotonic clock; otherwise they are clip time, from 0.
        recorded: a clip or stills. It may show one picture for a long time; a real camera that does so is frozen.
        dropped: number of frames so far that were never delivered.
    """

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    @property
    def recorded(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames; a recorded source ends, a live one raises CameraLostError when it fails."""
        ...

    def __enter__(self) -> Camera: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


def open_camera(config: CameraConfig, *, realtime: bool = False) -> Camera:
    """Open the source `config.source`; with `realtime` a clip or folder of stills plays at its own pace, as if live.

    Raises:
        CameraError: the source does not exist or cannot be opened; the message names those that exist.
    """
    source = source_of(config.source)
    match source.kind:
        case SourceKind.PICAMERA:
            return open_picamera(config)
        case SourceKind.DEVICE:
            return open_v4l2(config)
        case SourceKind.STREAM:
            return open_stream(config)
    path = Path(os.path.expanduser(source.address))  # unlike Path.expanduser, raises nothing for an unknown user
    if path.is_dir():
        return ImageFolderCamera(path, config.fps, realtime=realtime, rotate_deg=config.rotate_deg)
    if path.is_file():
        return VideoFileCamera(path, realtime=realtime, rotate_deg=config.rotate_deg)
    raise CameraError(f"{source}: no such file or camera; a source is {_KINDS}")


class CameraOpener:
    """Opens a camera in a thread while the door loads its models; leaving the context closes it unless it was taken."""

    def __init__(self, config: CameraConfig, *, realtime: bool = False) -> None:
        self._config = config
        self._realtime = realtime
        self._camera: Camera | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._open, name="camera-opening", daemon=True)
        self._thread.start()

    def result(self) -> Camera:
        """Wait for the camera and return it; the caller closes it. Call this once.

        Raises:
            CameraError: as `open_camera`.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        camera, self._camera = self._camera, None
        assert camera is not None, "a camera is taken once"
        return camera

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._camera is not None:
            self._camera.close()

    def _open(self) -> None:
        try:
            self._camera = open_camera(self._config, realtime=self._realtime)
        except Exception as error:  # raised again by `result`
            self._error = error


def is_recorded(source: str) -> bool:
    """Whether a source names a clip or a folder of stills; other cameras may be disconnected now and return later."""
    return source_of(source).kind is SourceKind.RECORDING


def redact_url(source: str) -> str:
    """The label of a source: without secrets, for logs, events and pages."""
    return source_of(source).label
