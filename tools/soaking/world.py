"""What a door sees in its simulated hours: emptiness, visitors, and a camera that fails; and when everything else does.

Time comes with the frames. While somebody is there, or something has just happened, it goes at most at three times its
pace, so that what is fresh or late is so by the measure of real networks; while the broker is frozen at its own pace,
for the door's waits for it are real. Through the emptiness it leaps.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import numpy as np

import edge.runtime.camera_supervisor
from edge.core.config import CameraConfig
from edge.core.errors import CameraError, CameraLostError
from edge.core.records import BgrImage, Frame
from edge.demo.run_demo import CLIP
from edge.vision.camera_file import VideoFileCamera
from soaking.clock import BEGIN_NS, WALL_NS, Clock
from soaking.seams import replace

S = 1_000_000_000
FASTEST = 3.0  # times real time while somebody is there
LEAP_S = 20.0  # from frame to frame while nobody is
AFTERWARDS_S = 4.0  # looked at with care after every visit and every change: longer than an opening keeps
_FRAME_S = 1 / 15
_PARTS_S = {"known": (0.0, 4.0), "unknown": (4.4, 9.0)}  # of the bundled clip
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
_LASTING = ("broker-killed", "broker-frozen", "disk-full")  # these have an end, and others may happen meanwhile
_NESTED = 0.3  # how often something else fails at the same time

Ask = Callable[[str], None]


class FaultScript:
    """All that happens to one door, in order, under a seed.

    Args:
        clock: is set with every frame.
        hours: simulated.
        periods: so many times everything is well again for a moment.
        seed: of all chance here.
        ask: has something done by whoever holds the broker, and returns when it is done.
    """

    def __init__(self, clock: Clock, *, hours: float, periods: int, seed: int, ask: Ask) -> None:
        self._clock = clock
        self._period_ns = round(hours * 3600 * S / periods)
        self._periods = periods
        self._chance = random.Random(seed)
        self._ask = ask
        self._offset_ns = WALL_NS - BEGIN_NS
        self._t_ns = BEGIN_NS
        self._shown_s = time.monotonic()
        self._fastest = FASTEST
        self._absent = 0  # attempts to open the camera that fail from now on
        self._empty = self._views()
        self._frames = self._play()
        clock.set(self._t_ns, self._offset_ns)

    def open(self, _config: CameraConfig, *, realtime: bool = False) -> Watching:
        """The camera, if it is there.

        Raises:
            CameraError: it is not.
        """
        if self._absent:
            self._absent -= 1
            self._pass(30.0)
            raise CameraError("camera: unplugged")
        return Watching(self._frames, lambda: self._t_ns)

    def _play(self) -> Iterator[BgrImage | None]:
        """The pictures as they come, each at its time; None when the camera goes."""
        for period in range(self._periods):
            end_ns = BEGIN_NS + (period + 1) * self._period_ns
            happenings = [self._visit] * self._chance.randint(0, 2) + [self._fault] * self._chance.randint(1, 2)
            self._chance.shuffle(happenings)
            for number, happening in enumerate(happenings):
                left_ns = max(end_ns - self._t_ns, 0) / (len(happenings) - number + 1)
                yield from self._nothing(self._chance.uniform(0.2, 1.0) * left_ns / S)
                yield from happening()
            yield from self._nothing((end_ns - self._t_ns) / S)
            yield from self._visitor("known")  # somebody is let in: the door must be back for that
            self._ask(f"well {period} {(self._t_ns - BEGIN_NS) / S / 3600:.4f}")

    def _visit(self) -> Iterator[BgrImage | None]:
        yield from self._visitor(self._chance.choice(tuple(_PARTS_S)))

    def _fault(self) -> Iterator[BgrImage | None]:
        kind = self._chance.choice(FAULTS)
        if kind in _LASTING:
            yield from self._lasting(kind)
            return
        self._ask(kind)
        if kind == "camera-lost":
            self._absent = self._chance.randint(0, 1)
            yield None
        elif kind == "camera-frozen":
            yield from self._steadily(lambda: self._empty[0], 45)
        elif kind == "camera-black":
            yield from self._steadily(self._black, 20)
        elif kind == "clock-jump":
            yield from self._nobody(AFTERWARDS_S)
            self._offset_ns += round(self._chance.choice((-1, 1)) * self._chance.uniform(5, 3000) * S)
            self._clock.set(self._clock.monotonic_ns(), self._offset_ns)
        yield from self._nobody(AFTERWARDS_S)

    def _lasting(self, kind: str, others: Sequence[str] = _LASTING) -> Iterator[BgrImage | None]:
        """Something fails, life goes on and perhaps something else fails too, it works again."""
        self._ask(kind)
        if kind == "disk-full":
            _let_files_grow(False)
        elif kind == "broker-frozen":
            self._fastest = 1.0
        others = [each for each in others if each.split("-")[0] != kind.split("-")[0]]
        if others and self._chance.random() < _NESTED:
            yield from self._lasting(self._chance.choice(others), others)
        yield from self._visit()
        if self._fastest > 1.0:
            yield from self._nothing(self._chance.uniform(10, 600))
        if kind == "disk-full":
            _let_files_grow(True)
        self._ask(f"{kind}{OVER}")
        if kind == "broker-frozen":
            self._fastest = FASTEST
        yield from self._nobody(AFTERWARDS_S)

    def _visitor(self, who: str) -> Iterator[BgrImage | None]:
        begin_s, end_s = _PARTS_S[who]
        with VideoFileCamera(CLIP) as clip:
            last_s = begin_s
            for frame in clip:
                at_s = frame.captured_ns / S
                if at_s >= end_s:
                    break
                if at_s >= begin_s:
                    self._pass(at_s - last_s, careful=True)
                    last_s = at_s
                    yield frame.pixels
        yield from self._nobody(AFTERWARDS_S)

    def _nobody(self, seconds: float) -> Iterator[BgrImage]:
        """Emptiness at a careful pace."""
        end_ns = self._t_ns + round(seconds * S)
        while self._t_ns < end_ns:
            self._pass(_FRAME_S, careful=True)
            yield self._some_empty()

    def _nothing(self, seconds: float) -> Iterator[BgrImage]:
        """Emptiness in leaps."""
        end_ns = self._t_ns + round(seconds * S)
        while self._t_ns < end_ns:
            self._pass(min(LEAP_S, (end_ns - self._t_ns) / S + 0.001))
            yield self._some_empty()

    def _steadily(self, picture: Callable[[], BgrImage], seconds: int) -> Iterator[BgrImage]:
        for _ in range(seconds):
            self._pass(1.0)
            yield picture()

    def _pass(self, seconds: float, *, careful: bool = False) -> None:
        """Let so much time pass, or more if the door has needed more."""
        if careful:
            time.sleep(max(self._shown_s + seconds / self._fastest - time.monotonic(), 0))
        self._shown_s = time.monotonic()
        self._t_ns = max(self._t_ns + round(seconds * S), self._clock.monotonic_ns())
        self._clock.set(self._t_ns, self._offset_ns)

    def _views(self) -> list[BgrImage]:
        """The bundled clip's empty scene with the noise of a sensor, a few times."""
        noise = np.random.default_rng(0)
        with VideoFileCamera(CLIP) as clip:
            scene = next(iter(clip)).pixels.copy()
        return [
            np.clip(scene + noise.integers(-3, 4, scene.shape, np.int16), 0, 255).astype(np.uint8)
            for _ in range(_NOISES)
        ]

    def _some_empty(self) -> BgrImage:
        self._empty.append(self._empty.pop(0))
        return self._empty[0]

    def _black(self) -> BgrImage:
        return np.random.default_rng(self._t_ns).integers(0, 6, self._empty[0].shape, np.uint8)


class Watching:
    """One opened camera of the world.

    Args:
        frames: goes on where the last camera ended.
        now_ns: the time of the frame that has just come.
    """

    name = "world"
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

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def close(self) -> None:
        return


def install(world: FaultScript) -> None:
    """Let the doors of this process see this world."""
    replace(edge.runtime.camera_supervisor, open_camera=world.open)


def _let_files_grow(may: bool) -> None:
    """A bound on the size of files stands in for a full disk: every write to one is an error until it is lifted."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if may else 1, hard))
