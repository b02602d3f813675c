"""Does what is around a face move along with it? A picture's own background, its edge, a bezel and a hand do.

What stands behind a person stands still, or moves by itself. Two explanations of each look are held side by side: the
surroundings of the run's first look are still there, or they have moved as the face has. Where nothing is to be seen
around a face, or it hardly moved, both explain the same, and there is nothing to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np

from edge.core.records import FloatArray, Frame, Landmarks
from edge.liveness.cues.planar import Reals
from edge.vision.aligner import similarity

_CELLS = 8  # to the eyes' distance
_EXTENT = ((-5.0, 5.0), (-4.5, 1.7))  # what is looked at, across and down, eye distances; shoulders are below
_HEAD = (2.7, 3.2)  # half axes of the ellipse that head, hair and a hat may fill, around the eyes' middle
_BLUR = 0.8  # cells
_ROWS = 2  # of pixels that are read of a cell at least; the others are left out
_STILL = 0.01  # of the eyes' distance; a face that has moved less everywhere has not moved
_FEW_CELLS = 40  # fewer tell nothing
_FEW_LOOKS = 4
_MIN_EVIDENCE = 4.0  # grey levels squared; less change expected of moving along may be noise or compression
_NOISE = 0.25  # grey levels squared, what noise leaves of the best explanation


@dataclass(frozen=True, slots=True)
class CellChange:
    """How one look's surroundings differ from what was expected of them, means over cells, grey levels squared."""

    still: float  # from surroundings that stand still
    along: float  # from surroundings that have moved as the face has
    expected: float  # of moving along, from standing still


def background_follows_face(changes: Sequence[CellChange]) -> float | None:
    """How many times better moving along explains the surroundings than standing still, median look.

    By root mean squares; above 1 they move along. None where too few looks can tell.
    """
    telling = [each for each in changes if each.expected >= _MIN_EVIDENCE]
    if len(telling) < _FEW_LOOKS:
        return None
    return median(math.sqrt((each.still + _NOISE) / (each.along + _NOISE)) for each in telling)


class BackgroundMotion:
    """What is around a face in the first look of a run, as a grid of cells that stays where it is."""

    def __init__(self, frame: Frame, landmarks: Landmarks) -> None:
        five = landmarks.five_px.astype(np.float64)
        middle = (five[0] + five[1]) / 2
        self._five = np.vstack([five.T, np.ones(5)])
        self._shape = frame.pixels.shape
        self._cell_px = max(round(math.dist(five[0], five[1]) / _CELLS), 1)
        unit_px = self._cell_px * _CELLS
        self._still_px = _STILL * unit_px
        (self._left, self._across), (self._top, self._down) = (
            _span(centre, reach, self._cell_px, length)
            for centre, reach, length in zip(middle, _EXTENT, (self._shape[1], self._shape[0]), strict=True)
        )
        corner = (self._cell_px - 1) / 2  # the first cell's centre, from its first pixel's
        self._to_frame = np.array(
            [[self._cell_px, 0, self._left + corner], [0, self._cell_px, self._top + corner], [0, 0, 1]]
        )
        self._from_frame = np.linalg.inv(self._to_frame)
        x = (np.arange(self._across) * self._cell_px + self._left + corner - middle[0])[None, :] / unit_px
        y = (np.arange(self._down) * self._cell_px + self._top + corner - middle[1])[:, None] / unit_px
        person = ((x / _HEAD[0]) ** 2 + (y / _HEAD[1]) ** 2 < 1) | ((np.abs(x) < _HEAD[0]) & (y > 0))
        self._around = (~person).astype(np.uint8)
        self._few = int(self._around.sum()) < _FEW_CELLS
        self._first = self.add_frame(frame)

    def add_frame(self, frame: Frame) -> FloatArray | None:
        """The cells of a frame of the same camera, (down, across) float32 mean grey levels; None where too few show.

        They are a little blurred, so that a motion of less than a cell shows.
        """
        if self._few or frame.pixels.shape != self._shape:
            return None
        right, bottom = self._left + self._across * self._cell_px, self._top + self._down * self._cell_px
        some = frame.pixels[self._top : bottom : max(self._cell_px // _ROWS, 1), self._left : right]
        grey = cv2.cvtColor(some, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (self._across, self._down), interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), _BLUR), np.float32)

    def brightness(self, seen: FloatArray) -> float:
        """Mean grey level around the face of what `add_frame` returned."""
        return float(seen[self._around > 0].mean())

    def compare(self, seen: FloatArray, moved: Reals) -> CellChange | None:
        """Hold what is seen beside the first look; None where the face has hardly moved, or too little is around it.

        Args:
            seen: what `add_frame` returned of a later frame.
            moved: (3, 3), the homography by which the face has moved since, frame pixels.
        """
        if self._first is None:
            return None
        x, y, w = moved @ self._five
        if w.min() <= 0 or np.hypot(x / w - self._five[0], y / w - self._five[1]).max() < self._still_px:
            return None
        similar = similarity(self._five[:2].T.tolist(), np.stack([x / w, y / w], axis=1).tolist())
        # Far from the face, a homography is exact for what is flat, and a similarity steadier for what nearly is.
        steady, exact = (self._from_frame @ each @ self._to_frame for each in (np.vstack([similar, [0, 0, 1]]), moved))
        size = (self._across, self._down)
        arrived = cv2.warpAffine(self._around, steady[:2], size, flags=cv2.INTER_NEAREST)
        good = np.flatnonzero(self._around & arrived)
        if len(good) < _FEW_CELLS:
            return None
        carried = cv2.warpAffine(self._first, steady[:2], size, borderMode=cv2.BORDER_REPLICATE)
        warped = cv2.warpPerspective(self._first, exact, size, borderMode=cv2.BORDER_REPLICATE)
        first, *apart = (cells.ravel()[good] for cells in (self._first, seen, carried, warped))
        first -= first.mean()
        differs, expected, other = (_remove_lighting(cells - first, first) for cells in apart)
        along = min(_mean_square(differs - expected), _mean_square(differs - other))
        return CellChange(_mean_square(differs), along, _mean_square(expected))


def _span(middle_px: float, reach: tuple[float, float], cell_px: int, length_px: int) -> tuple[int, int]:
    """First pixel and number of the whole cells within reach and frame along one axis."""
    first_px = round(middle_px + reach[0] * _CELLS * cell_px)
    cells = round((reach[1] - reach[0]) * _CELLS)
    outside = max(-(first_px // cell_px), 0)
    start_px = first_px + outside * cell_px
    return start_px, max(min(cells - outside, (length_px - start_px) // cell_px), 0)


def _remove_lighting(apart: FloatArray, first: FloatArray) -> FloatArray:
    """A difference, without what light that changes everywhere alike makes of `first`, whose mean is 0."""
    rest = apart - apart.mean()
    return np.asarray(rest - first * (float(rest @ first) / max(float(first @ first), 1e-6)), np.float32)


def _mean_square(values: FloatArray) -> float:
    return float(values @ values) / len(values)
