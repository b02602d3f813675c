"""Cue: whether the surroundings of a face move with it, like the background, edge or bezel of a picture, or a hand.

The background of a person is still, or moves independently. Two predictions are compared with each sample: the
surroundings in the first sample of the run are unchanged, or they have moved like the face. If there is no detail
around the face, or the face hardly moved, both predictions are equal, and the cue has no value.
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

_CELLS = 8  # per eye distance
_EXTENT = ((-5.0, 5.0), (-4.5, 1.7))  # measured area, horizontal and vertical, in eye distances; without shoulders
_HEAD = (2.7, 3.2)  # half axes of the ellipse of head, hair and hat around the middle of the eyes
_BLUR = 0.8  # cells
_ROWS = 2  # smallest number of pixel rows that are read per cell
_STILL = 0.01  # in eye distances; below it a face has not moved
_FEW_CELLS = 40  # with fewer cells there is no value
_FEW_LOOKS = 4
_MIN_EVIDENCE = 4.0  # grey levels squared; a smaller predicted change may be noise or compression
_NOISE = 0.25  # grey levels squared, residual of the best prediction by noise


@dataclass(frozen=True, slots=True)
class CellChange:
    """Difference of the surroundings from the predictions: means over cells, grey levels squared."""

    still: float  # from unchanged surroundings
    along: float  # from surroundings that move with the face
    expected: float  # between the two predictions


def background_follows_face(changes: Sequence[CellChange]) -> float | None:
    """Ratio of the errors of "unchanged" to "moves with the face", median over the samples; above 1 they move along.

    Errors are root mean squares. None if there are too few usable samples.
    """
    telling = [each for each in changes if each.expected >= _MIN_EVIDENCE]
    if len(telling) < _FEW_LOOKS:
        return None
    return median(math.sqrt((each.still + _NOISE) / (each.along + _NOISE)) for each in telling)


class BackgroundMotion:
    """Surroundings of a face in the first sample of a run, as a fixed grid of cells."""

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
        corner = (self._cell_px - 1) / 2  # centre of the first cell relative to its first pixel
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
        """Cells of a frame of the same camera, (down, across) float32 mean grey levels; None if there are too few.

        They are slightly blurred, so that motion of less than a cell is measurable.
        """
        if self._few or frame.pixels.shape != self._shape:
            return None
        right, bottom = self._left + self._across * self._cell_px, self._top + self._down * self._cell_px
        some = frame.pixels[self._top : bottom : max(self._cell_px // _ROWS, 1), self._left : right]
        grey = cv2.cvtColor(some, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (self._across, self._down), interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), _BLUR), np.float32)

    def brightness(self, seen: FloatArray) -> float:
        """Mean grey level around the face, from cells of `add_frame`."""
        return float(seen[self._around > 0].mean())

    def compare(self, seen: FloatArray, moved: Reals) -> CellChange | None:
        """Compare a later frame with the predictions; None if the face hardly moved or too few cells are visible.

        Args:
            seen: cells of `add_frame` of the later frame.
            moved: (3, 3), homography of the face since the first sample, frame pixels.
        """
        if self._first is None:
            return None
        x, y, w = moved @ self._five
        if w.min() <= 0 or np.hypot(x / w - self._five[0], y / w - self._five[1]).max() < self._still_px:
            return None
        similar = similarity(self._five[:2].T.tolist(), np.stack([x / w, y / w], axis=1).tolist())
        # Far from the face, a homography is exact for flat objects, and a similarity is steadier for nearly flat ones.
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
    """A difference without the effect of a uniform change of light on `first`, whose mean is 0."""
    rest = apart - apart.mean()
    return np.asarray(rest - first * (float(rest @ first) / max(float(first @ first), 1e-6)), np.float32)


def _mean_square(values: FloatArray) -> float:
    return float(values @ values) / len(values)
