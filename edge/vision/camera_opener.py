"""A camera that opens while the door loads everything else: the two take about as long, and want different things."""

from __future__ import annotations

import threading
from typing import Self

from edge.core.config import CameraConfig
from edge.vision.camera import Camera, open_camera


class CameraOpener:
    """Opens a camera in a thread of its own. Leaving the context closes one that nobody has taken.

    Args:
        config: the [camera] table.
        realtime: as for `open_camera`.
    """

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
