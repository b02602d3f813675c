"""The camera of one door over its whole life: opened, lost, blind, opened anew; each change is told once."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.core.config import DoorConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import Frame
from edge.events.schema import CameraState, EventKind
from edge.vision.camera import Camera, is_recorded, open_camera, redact_url
from edge.vision.camera_health import FAULT_HINTS, CameraHealth
from edge.vision.camera_opener import CameraOpener

log = logging.getLogger(__name__)


class CameraSupervisor:
    """Opens the camera as often as it takes, and knows whether its frames are worth a look; not thread-safe.

    Attributes:
        name: the source, as it may be shown.
        state: what the camera is doing.
        patient: a camera that is not there is waited for; a clip or a folder of stills is not.
    """

    def __init__(
        self, config: DoorConfig, tell: Callable[[EventKind, str], None], opening: CameraOpener | None = None
    ) -> None:
        """
        Args:
            config: of the door.
            tell: puts an event on record.
            opening: the camera, if it is being opened already.
        """
        self.name = redact_url(config.camera.source)
        self.state = CameraState.STARTING
        self.patient = not is_recorded(config.camera.source)
        self._config = config.camera
        self._tell = tell
        self._opening = opening
        self._sight = CameraHealth(config.camera_health)

    @property
    def is_frozen(self) -> bool:
        """Whether the camera has given the same picture for so long that it should be opened anew."""
        return self._sight.is_frozen

    def open(self) -> Camera | None:
        """Open the camera; None when it is not there, which is told once and may be tried again.

        Raises:
            CameraError: a clip or folder of stills cannot be opened, and never will be.
        """
        opening, self._opening = self._opening, None
        try:
            camera = opening.result() if opening else open_camera(self._config, realtime=True)
        except CameraError as error:
            if not self.patient:
                raise
            self.mark_lost(error)
            return None
        if self.state is CameraState.LOST:
            self._tell(EventKind.CAMERA_BACK, f"camera {self.name}")
            self.state = CameraState.STARTING
        return camera

    def mark_lost(self, error: CameraError | CameraLostError) -> None:
        """The camera has gone, or does not come."""
        if self.state is CameraState.LOST:
            log.debug("%s", error)
            return
        self.state = CameraState.LOST
        self._tell(EventKind.CAMERA_LOST, str(error))

    def update(self, frame: Frame, camera: Camera) -> bool:
        """Whether a frame is worth a look, as the copies that a frozen camera gives are not."""
        was, new = self._sight.blind, True
        if not camera.recorded:
            new = self._sight.update(frame)
        blind = self._sight.blind
        if blind and not was:
            self._tell(EventKind.CAMERA_BLIND, f"{blind}: {FAULT_HINTS[blind]}")
        elif was and not blind:
            self._tell(EventKind.CAMERA_SEES, f"camera {self.name}")
        self.state = CameraState.BLIND if blind else CameraState.WORKING
        return new

    def problem(self) -> str:
        """What somebody should look at, or ""."""
        if self.state is CameraState.LOST:
            return f"camera {self.name} is lost"
        blind = self._sight.blind
        return f"camera {self.name} is {blind}: {FAULT_HINTS[blind]}" if blind else ""
