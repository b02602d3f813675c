"""Every kind of camera behind one small interface: Pi camera, V4L2, network stream, clip, folder of stills."""

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
    """A source of frames. Leaving the context, or `close`, lets go of it; closing twice is harmless.

    Attributes:
        name: as it may be shown and logged; without a password.
        live: frame times are on the monotonic clock; otherwise they are clip time, from 0.
        recorded: a clip or stills, which may well show one picture for long; a real camera that does is frozen.
        dropped: frames that were never given out, so far.
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
        """Frames; a recorded source ends, a live one raises CameraLost when it fails."""
        ...

    def __enter__(self) -> Camera: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


def open_camera(config: CameraConfig, *, realtime: bool = False) -> Camera:
    """Open what `config.source` names; with `realtime` a clip or folder of stills plays at its own pace, as if live.

    Raises:
        CameraError: there is no such source, or it cannot be opened; the message says what there is.
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
    """Opens a camera in a thread while the door loads its models; leaving the context closes one not taken."""

    def __init__(self, config: CameraConfig, *, realtime: bool = False) -> None:
        self._config = config
        self._realtime = realtime
        self._camera: Camera | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._open, name="camera-opening", daemon=True)
        self._thread.start()

    def result(self) -> Camera:
        """Wait for the camera; it is the caller's to close from now on. To be called once.

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
        except Exception as error:  # raised where somebody waits for the camera
            self._error = error


def is_recorded(source: str) -> bool:
    """Whether a source names a clip or a folder of stills; any other may be away now and come back."""
    return source_of(source).kind is SourceKind.RECORDING


def redact_url(source: str) -> str:
    """The label of a source, which may be logged, published and shown."""
    return source_of(source).label
