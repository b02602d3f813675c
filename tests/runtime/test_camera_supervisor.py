"""CameraSupervisor: one event for each change of the camera state."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import numpy as np
import pytest

from edge.core.config import CameraConfig, CameraHealthConfig, DoorConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import Frame
from edge.events.schema import CameraState
from edge.runtime.camera_supervisor import CameraSupervisor

S = 1_000_000_000
NOISE = np.random.default_rng(0).integers(60, 200, (8, 96, 128, 3)).astype(np.uint8)


class StubCamera:
    """Open live camera; the test makes its frames."""

    name = "stub"
    live = True
    recorded = False
    dropped = 0

    def __iter__(self) -> Iterator[Frame]:
        return iter(())

    def __enter__(self) -> StubCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def close(self) -> None:
        return


class Driver:
    """Opens the camera while it is plugged in, and stores the recorded events."""

    def __init__(self, source: str = "/dev/video0") -> None:
        self.plugged = True
        self.events: list[str] = []
        config = DoorConfig(
            site="home",
            door="front",
            camera=CameraConfig(source=source),
            camera_health=CameraHealthConfig(blind_after_s=2.0, recovered_after_s=1.0, frozen_after_s=5.0),
        )
        self.supervisor = CameraSupervisor(
            config, lambda kind, *_: self.events.append(str(kind)), open_camera=self.open
        )
        self.frames = 0

    def open(self, config: CameraConfig, *, realtime: bool = False) -> StubCamera:
        if not self.plugged:
            raise CameraError("/dev/video0: no such camera")
        return StubCamera()

    def show(self, seconds: float, *, black: bool = False, frozen: bool = False) -> bool:
        """Show pictures at 10 fps; returns whether to process the last frame."""
        useful = False
        for _ in range(round(seconds * 10)):
            pixels = NOISE[0 if frozen else self.frames % len(NOISE)] // (16 if black else 1)
            frame = Frame(pixels, self.frames, self.frames * S // 10)
            useful = self.supervisor.update(frame, StubCamera())
            self.frames += 1
        return useful


def test_missing_camera_is_recorded_once_and_when_it_is_back() -> None:
    door = Driver()
    door.plugged = False
    assert [door.supervisor.open() for _ in range(3)] == [None] * 3
    assert (door.events, door.supervisor.state) == (["camera-lost"], CameraState.LOST)
    assert door.supervisor.problem() == "camera /dev/video0 is lost"
    door.plugged = True
    assert door.supervisor.open() is not None
    door.show(0.2)
    assert (door.events, door.supervisor.state) == (["camera-lost", "camera-back"], CameraState.WORKING)
    assert door.supervisor.problem() == ""


def test_camera_that_fails_while_it_runs() -> None:
    door = Driver()
    assert door.supervisor.open() is not None
    door.show(0.2)
    door.supervisor.mark_lost(CameraLostError("no frame for 5 s"))
    door.supervisor.mark_lost(CameraLostError("no frame for 5 s"))
    assert door.events == ["camera-lost"]


@pytest.mark.parametrize(("source", "waits"), [("/dev/video0", True), ("rtsp://a/b", True), ("clip.mp4", False)])
def test_only_a_live_camera_is_waited_for(source: str, waits: bool) -> None:
    door = Driver(source)
    door.plugged = False
    assert door.supervisor.waits is waits
    if waits:
        assert door.supervisor.open() is None
    else:
        with pytest.raises(CameraError):
            door.supervisor.open()


def test_blind_camera_and_its_recovery() -> None:
    door = Driver()
    door.show(2)
    door.show(4, black=True)
    assert (door.events, door.supervisor.state) == (["camera-blind"], CameraState.BLIND)
    assert door.supervisor.problem().startswith("camera /dev/video0 is black: ")
    door.show(3)
    assert (door.events, door.supervisor.state) == (["camera-blind", "camera-sees"], CameraState.WORKING)


def test_frozen_camera_is_to_be_reopened() -> None:
    """Copies of one picture are not processed."""
    door = Driver()
    assert door.show(1)
    assert not door.show(3, frozen=True)
    assert not door.supervisor.is_frozen
    door.show(4, frozen=True)
    assert door.supervisor.is_frozen
