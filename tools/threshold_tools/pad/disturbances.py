"""What else a door might have seen of a clip: other light, noise, compression, size, focus, fewer frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike

from edge.core.records import BgrImage, Frame

_NOISE = 6.0  # grey levels
_QUALITY = 40  # of JPEG


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One way to see a clip: `change` draws a frame anew, by chance if it wants; one frame in `every` is left."""

    name: str
    change: Callable[[BgrImage, np.random.Generator], MatLike]
    every: int = 1

    def of(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames that are left, changed; the same each time."""
        rng = np.random.default_rng(0)
        for number, frame in enumerate(frames):
            if number % self.every == 0:
                yield Frame(
                    np.ascontiguousarray(self.change(frame.pixels, rng), np.uint8), frame.seq, frame.captured_ns
                )


def _lit(gain: float) -> Callable[[BgrImage, np.random.Generator], MatLike]:
    return lambda pixels, _: cv2.convertScaleAbs(pixels, alpha=gain)


def _sized(scale: float) -> Callable[[BgrImage, np.random.Generator], MatLike]:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return lambda pixels, _: cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=how)


def _noisy(pixels: BgrImage, rng: np.random.Generator) -> MatLike:
    return np.clip(pixels + rng.normal(0, _NOISE, pixels.shape), 0, 255).astype(np.uint8)


def _compressed(pixels: BgrImage, _: np.random.Generator) -> MatLike:
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


UNDISTURBED = Disturbance("as it is", lambda pixels, _: pixels)
DISTURBANCES = (
    UNDISTURBED,
    Disturbance("mirrored", lambda pixels, _: cv2.flip(pixels, 1)),
    Disturbance("JPEG 40", _compressed),
    Disturbance("noise of 6 levels", _noisy),
    Disturbance("0.45 times the light", _lit(0.45)),
    Disturbance("1.5 times the light", _lit(1.5)),
    Disturbance("half the size", _sized(0.5)),
    Disturbance("twice the size", _sized(2.0)),
    Disturbance("blurred by 1.5 px", lambda pixels, _: cv2.GaussianBlur(pixels, (0, 0), 1.5)),
    Disturbance("every second frame", lambda pixels, _: pixels, 2),
    Disturbance("every third frame", lambda pixels, _: pixels, 3),
)
