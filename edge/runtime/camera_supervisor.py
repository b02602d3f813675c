"""Opens and reopens the camera of one door, and records each change of its state once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from edge.core.config import CameraConfig, DoorConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.reasons import Reason
from edge.core.records import Frame
from edge.events.schema import CameraState, EventKind
from edge.vision.camera import Camera, CameraOpener, is_recorded, open_camera, redact_url
from edge.vision.camera_health import FAULT_HINTS, CameraHealth, ImageFault

log = logging.getLogger(__name__)


class OpenCamera(Protocol):
    """Opens a camera; see `edge.vision.camera.open_camera`."""

    def __call__(self, config: CameraConfig, *, realtime: bool = False) -> Camera: ...


_REASONS = {
    ImageFault.BLACK: Reason.IMAGE_BLACK,
    ImageFault.OVEREXPOSED: Reason.IMAGE_OVEREXPOSED,
    ImageFault.COVERED: Reason.IMAGE_COVERED,
    ImageFault.FROZEN: Reason.IMAGE_FROZEN,
}


class CameraSupervisor:
    """Opens the camera as often as needed, and detects blind and frozen frames; not thread-safe."""

    def __init__(
        self,
        config: DoorConfig,
        record_event: Callable[[EventKind, Reason, str], None],  # stores a system event
        opener: CameraOpener | None = None,  # camera that is being opened already
        open_camera: OpenCamera = open_camera,  # opens the camera after that
    ) -> None:
        self.name = redact_url(config.camera.source)  # without passwords
        self.state = CameraState.STARTING
        self.waits = not is_recorded(
            config.camera.source
        )  # whether to wait for a missing camera; not for a clip or folder
        self._config = config.camera
        self._record_event = record_event
        self._opener = opener
        self._open_camera = open_camera
        self._health = CameraHealth(config.camera_health)

    @property
    def is_frozen(self) -> bool:
        """Whether the camera has repeated one picture for too long and must be reopened."""
        return self._health.is_frozen

    def open(self) -> Camera | None:
        """Open the camera; None: it is missing, which is recorded once. Call again to retry.

        Raises:
            CameraError: a clip or image folder cannot be opened.
        """
        opener, self._opener = self._opener, None
        try:
            camera = opener.result() if opener else self._open_camera(self._config, realtime=True)
        except CameraError as error:
            if not self.waits:
                raise
            self.mark_lost(error)
            return None
        if self.state is CameraState.LOST:
            self._record_event(EventKind.CAMERA_BACK, Reason.CAMERA_OPENED, self.name)
            self.state = CameraState.STARTING
        return camera

    def mark_lost(self, error: CameraError | CameraLostError) -> None:
        """Record that the camera is lost or cannot be opened."""
        if self.state is CameraState.LOST:
            log.debug("%s", error)
            return
        self.state = CameraState.LOST
        worked = isinstance(error, CameraLostError)
        self._record_event(EventKind.CAMERA_LOST, Reason.NO_FRAMES if worked else Reason.CAMERA_NOT_OPENED, str(error))

    def update(self, frame: Frame, camera: Camera) -> bool:
        """Check one frame; returns whether to process it, which is False for copies from a frozen camera."""
        was = self._health.blind
        is_new = camera.recorded or self._health.update(frame)
        blind = self._health.blind
        if blind and not was:
            self._record_event(EventKind.CAMERA_BLIND, _REASONS[blind], self.name)
        elif was and not blind:
            self._record_event(EventKind.CAMERA_SEES, Reason.IMAGE_VISIBLE, self.name)
        self.state = CameraState.BLIND if blind else CameraState.WORKING
        return is_new

    def problem(self) -> str:
        """Current problem of the camera, or ""."""
        if self.state is CameraState.LOST:
            return f"camera {self.name} is lost"
        blind = self._health.blind
        return f"camera {self.name} is {blind}: {FAULT_HINTS[blind]}" if blind else ""
