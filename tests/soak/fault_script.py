"""The simulated hours of a long run: an empty scene, visitors, and faults of camera, broker, disk and clock.

Time comes with the frames. During visits and after faults it runs at most three times as fast as real time, so that
expiry is tested against a real network. While the broker is frozen it runs in real time, because the door waits in
real time. While nothing happens, it leaps.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edge.core.config import CameraConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import BgrImage, Frame
from edge.demo.run_demo import CLIP
from edge.vision.camera_file import VideoFileCamera
from soak.simulated_clock import BEGIN_NS, SimulatedClock

S = 1_000_000_000
FASTEST = 3.0  # times real time during visits
LEAP_S = 20.0  # step between frames of an empty scene
AFTERWARDS_S = 4.0  # small steps after each visit and fault, for longer than an open command is valid
_FRAME_S = 1 / 15
_PARTS_S = {"known": (0.0, 4.0), "unknown": (4.4, 9.0)}  # times in the bundled clip
_NOISES = 4
FAULTS = (
    "broker-killed",
    "broker-frozen",
    "disk-full",
    "camera-lost",
    "camera-frozen",
    "camera-black",
    "clock-jump",
    "release",
)
OVER = "-over"
_LASTING = (
    "broker-killed",
    "broker-frozen",
    "disk-full",
)  # these last until they are ended; others may happen meanwhile
_NESTED = 0.3  # probability of a second fault at the same time

Request = Callable[[str], None]


class FaultScript:
    """Sequence of visits and faults of one door, drawn from a seed.

    Args:
        clock: clock that is set with every frame.
        hours: simulated hours.
        periods: number of moments at which no fault is active.
        seed: seed of every random draw here.
        request: function that asks the supervising process for an action and returns when it is done.
        fastest: highest speed of time during visits, times real time.
        faults: kinds of faults to draw from.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        *,
        hours: float,
        periods: int,
        seed: int,
        request: Request,
        fastest: float = FASTEST,
        faults: Sequence[str] = FAULTS,
    ) -> None:
        self._clock = clock
        self._period_ns = round(hours * 3600 * S / periods)
        self._periods = periods
        self._random = random.Random(seed)
        self._request = request
        self._faults = faults
        self._offset_ns = time.time_ns() - BEGIN_NS  # releases are signed, and expire, by the real clock
        self._t_ns = BEGIN_NS
        self._shown_s = time.monotonic()
        self._normal_speed = self._speed = fastest
        self._failing_opens = 0  # next attempts to open the camera that fail
        self._empty = self._make_empty_scenes()
        self._frames = self._play()
        clock.set(self._t_ns, self._offset_ns)

    def open_camera(self, config: CameraConfig, *, realtime: bool = False) -> ScriptedCamera:
        """Open the camera.

        Raises:
            CameraError: the camera is unplugged.
        """
        if self._failing_opens:
            self._failing_opens -= 1
            self._advance(30.0)
            raise CameraError("camera: unplugged")
        return ScriptedCamera(self._frames, lambda: self._t_ns)

    def _play(self) -> Iterator[BgrImage | None]:
        """Yield the pictures in order, each at its time; None when the camera is lost."""
        for period in range(self._periods):
            end_ns = BEGIN_NS + (period + 1) * self._period_ns
            incidents = [self._visit] * self._random.randint(0, 2) + [self._fault] * self._random.randint(1, 2)
            self._random.shuffle(incidents)
            for number, incident in enumerate(incidents):
                left_ns = max(end_ns - self._t_ns, 0) / (len(incidents) - number + 1)
                yield from self._leap_empty(self._random.uniform(0.2, 1.0) * left_ns / S)
                yield from incident()
            yield from self._leap_empty((end_ns - self._t_ns) / S)
            yield from self._visitor("known")  # a known visitor is admitted: the door must work again by now
            self._request(f"well {period} {(self._t_ns - BEGIN_NS) / S / 3600:.4f}")

    def _visit(self) -> Iterator[BgrImage | None]:
        yield from self._visitor(self._random.choice(tuple(_PARTS_S)))

    def _fault(self) -> Iterator[BgrImage | None]:
        kind = self._random.choice(self._faults)
        if kind in _LASTING:
            yield from self._lasting(kind)
            return
        self._request(kind)
        if kind == "camera-lost":
            self._failing_opens = self._random.randint(0, 1)
            yield None
        elif kind == "camera-frozen":
            yield from self._repeat(lambda: self._empty[0], 45)
        elif kind == "camera-black":
            yield from self._repeat(self._black, 20)
        elif kind == "clock-jump":
            yield from self._empty_scene(AFTERWARDS_S)
            self._offset_ns += round(self._random.choice((-1, 1)) * self._random.uniform(5, 3000) * S)
            self._clock.set(self._clock.monotonic_ns(), self._offset_ns)
        yield from self._empty_scene(AFTERWARDS_S)

    def _lasting(self, kind: str, others: Sequence[str] = _LASTING) -> Iterator[BgrImage | None]:
        """Begin a fault, continue the scene, sometimes with another fault, and end the fault."""
        self._request(kind)
        if kind == "disk-full":
            _set_disk_full(full=True)
        elif kind == "broker-frozen":
            self._speed = 1.0
        others = [each for each in others if each.split("-")[0] != kind.split("-")[0]]
        if others and self._random.random() < _NESTED:
            yield from self._lasting(self._random.choice(others), others)
        yield from self._visit()
        if self._speed > 1.0:
            yield from self._leap_empty(self._random.uniform(10, 600))
        if kind == "disk-full":
            _set_disk_full(full=False)
        self._request(f"{kind}{OVER}")
        if kind == "broker-frozen":
            self._speed = self._normal_speed
        yield from self._empty_scene(AFTERWARDS_S)

    def _visitor(self, who: str) -> Iterator[BgrImage | None]:
        begin_s, end_s = _PARTS_S[who]
        with VideoFileCamera(CLIP) as clip:
            last_s = begin_s
            for frame in clip:
                at_s = frame.captured_ns / S
                if at_s >= end_s:
                    break
                if at_s >= begin_s:
                    self._advance(at_s - last_s, in_step=True)
                    last_s = at_s
                    yield frame.pixels
        yield from self._empty_scene(AFTERWARDS_S)

    def _empty_scene(self, seconds: float) -> Iterator[BgrImage]:
        """Yield an empty scene in small steps."""
        end_ns = self._t_ns + round(seconds * S)
        while self._t_ns < end_ns:
            self._advance(_FRAME_S, in_step=True)
            yield self._next_empty_scene()

    def _leap_empty(self, seconds: float) -> Iterator[BgrImage]:
        """Yield an empty scene in leaps."""
        end_ns = self._t_ns + round(seconds * S)
        while self._t_ns < end_ns:
            self._advance(min(LEAP_S, (end_ns - self._t_ns) / S + 0.001))
            yield self._next_empty_scene()

    def _repeat(self, picture: Callable[[], BgrImage], seconds: int) -> Iterator[BgrImage]:
        for _ in range(seconds):
            self._advance(1.0)
            yield picture()

    def _advance(self, seconds: float, *, in_step: bool = False) -> None:
        """Advance the time by at least `seconds`; by more if the door needed more."""
        if in_step:
            time.sleep(max(self._shown_s + seconds / self._speed - time.monotonic(), 0))
        self._shown_s = time.monotonic()
        self._t_ns = max(self._t_ns + round(seconds * S), self._clock.monotonic_ns())
        self._clock.set(self._t_ns, self._offset_ns)

    def _make_empty_scenes(self) -> list[BgrImage]:
        """Return the empty scene of the bundled clip with several samples of sensor noise."""
        noise = np.random.default_rng(0)
        with VideoFileCamera(CLIP) as clip:
            scene = next(iter(clip)).pixels.copy()
        return [
            np.clip(scene + noise.integers(-3, 4, scene.shape, np.int16), 0, 255).astype(np.uint8)
            for _ in range(_NOISES)
        ]

    def _next_empty_scene(self) -> BgrImage:
        self._empty.append(self._empty.pop(0))
        return self._empty[0]

    def _black(self) -> BgrImage:
        return np.random.default_rng(self._t_ns).integers(0, 6, self._empty[0].shape, np.uint8)


class ScriptedCamera:
    """One opened camera of a fault script.

    Args:
        frames: pictures; they continue where the previous camera ended.
        now_ns: function that returns the time of the current frame.
    """

    name = "script"
    live = True
    recorded = False
    dropped = 0

    def __init__(self, frames: Iterator[BgrImage | None], now_ns: Callable[[], int]) -> None:
        self._frames = frames
        self._now_ns = now_ns

    def __iter__(self) -> Iterator[Frame]:
        for seq, pixels in enumerate(self._frames):
            if pixels is None:
                raise CameraLostError("camera: unplugged")
            yield Frame(pixels, seq, self._now_ns())

    def __enter__(self) -> ScriptedCamera:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def close(self) -> None:
        return


def _set_disk_full(*, full: bool) -> None:
    """Simulate a full disk by a limit on file sizes: every write fails while it is set."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 if full else hard, hard))
