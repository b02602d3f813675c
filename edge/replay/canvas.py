"""Drawing surface of annotated clips: a camera frame above a panel with the state of the door and a legend."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from edge.core.records import BgrImage, Box, FloatArray, Match

Colour: TypeAlias = tuple[int, int, int]  # BGR

_WHITE, _LIGHT, _GREY, _DARK = (255, 255, 255), (215, 215, 215), (105, 100, 95), (28, 24, 22)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_HAS_TRUETYPE = int(cv2.__version__.partition(".")[0]) >= 5  # OpenCV 4 draws ASCII only, as strokes
_TEXT_WIDTH_PX = 640  # the following sizes are for pictures of this width
_TEXT_SCALE = 0.5 if _HAS_TRUETYPE else 0.42
_MAX_SIDE_PX = 1920
_ROW_PX, _STATUS_PX, _MARGIN_PX = 21, 30, 8
_PLATE_OPACITY = 0.68
_GROUND_SHADE = 0.75  # of a colour under white text
_TITLE_STRENGTH = 0.65  # of a colour as text on a dark plate, mixed with white
_MAX_DISTANCE_SQ = 2.5  # squared distance at the right end of a bar


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One symbol of the legend and its meaning."""

    colour: Colour
    text: str
    bar: tuple[float, float | None] | None = None  # a distance bar, with filled share and mark, instead of a box


class Layout:
    """Sizes of an annotated clip, from its first frame: 640 to 1920 pixels wide, so that text is legible."""

    def __init__(self, frame: BgrImage, legend: Sequence[LegendEntry]) -> None:
        height, width = frame.shape[:2]
        scale = min(max(1.0, _TEXT_WIDTH_PX / width), _MAX_SIDE_PX / max(width, height))
        self.width, self.height = _even(width * scale), _even(height * scale)
        self.zoom = max(self.width / _TEXT_WIDTH_PX, 1.0)
        self.status_px = _even(_STATUS_PX * self.zoom)
        self.panel = self._panel(legend)

    def _panel(self, legend: Sequence[LegendEntry]) -> BgrImage:
        """The panel without status: one row of symbols after the other, as many as fit in each."""
        row, gap = _ROW_PX * self.zoom, _MARGIN_PX * self.zoom
        places, x, y = [], gap, 0.0
        for entry in legend:
            symbol = row * (2 if entry.bar else 0.7)
            needed = symbol + gap + _text_width(entry.text, self.zoom)
            if x > gap and x + needed > self.width - gap:
                x, y = gap, y + row
            places.append((entry, x, y, symbol))
            x += needed + 2 * gap
        panel = np.full((self.status_px + _even(y + row + gap), self.width, 3), _DARK, np.uint8)
        for entry, x, y, symbol in places:
            middle = self.status_px + y + row * 0.5
            if entry.bar:
                _draw_bar(panel, (x, middle - row / 6), symbol, entry.bar, entry.colour, self.zoom)
            else:
                corner, opposite = (x, middle - symbol / 2), (x + symbol, middle + symbol / 2)
                cv2.rectangle(panel, _round(corner), _round(opposite), entry.colour, _line(self.zoom), cv2.LINE_AA)
            _put_text(panel, entry.text, (x + symbol + gap, middle), _LIGHT, self.zoom)
        return panel


class Canvas:
    """One picture of an annotated clip; boxes and points are in pixels of the camera frame."""

    def __init__(self, frame: BgrImage, layout: Layout) -> None:
        self._layout, self._zoom = layout, layout.zoom
        self._occupied: list[Box] = []  # boxes and labels so far, pixels of the picture
        height, width = frame.shape[:2]
        self._scale = min(layout.width / width, layout.height / height)
        inner = min(round(width * self._scale), layout.width), min(round(height * self._scale), layout.height)
        self._left, self._top = (layout.width - inner[0]) // 2, (layout.height - inner[1]) // 2
        method = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC
        resized = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=method)
        view = np.zeros((layout.height, layout.width, 3), np.uint8)
        view[self._top : self._top + inner[1], self._left : self._left + inner[0]] = resized
        self.picture: BgrImage = np.vstack([view, layout.panel])
        self._view = self.picture[: layout.height]

    def face(self, box: Box, points: FloatArray | None, colour: Colour) -> None:
        """Draw a box and landmarks of shape (N, 2)."""
        corner, opposite = self._place(box.left, box.top), self._place(box.right, box.bottom)
        self._occupied.append(Box(*corner, *opposite))
        for shade, weight in ((_DARK, _line(self._zoom) + 2), (colour, _line(self._zoom))):
            cv2.rectangle(self._view, _round(corner), _round(opposite), shade, weight, cv2.LINE_AA)
        for x, y in [] if points is None else points.tolist():
            cv2.circle(self._view, _round(self._place(x, y)), max(1, round(self._zoom)), colour, -1, cv2.LINE_AA)

    def label(self, box: Box, lines: Sequence[str], colour: Colour) -> None:
        """Write lines next to a box, the first of them in its colour.

        They are above the box and clear of other faces and labels. Without room there, they are below the box or at the
        top of the picture. Draw all faces before the first label.
        """
        row, margin = _ROW_PX * self._zoom, _MARGIN_PX / 2 * self._zoom
        lines = [_shorten(line, self._layout.width - 4 * margin, self._zoom) for line in lines]
        width = max(_text_width(line, self._zoom, bold=True) for line in lines) + 2 * margin
        height = row * len(lines) + margin
        plate = self._free_place(box, width, height, margin)
        self._occupied.append(plate)
        ground = self._view[round(plate.top) : round(plate.bottom), round(plate.left) : round(plate.right)]
        ground[:] = ground * (1 - _PLATE_OPACITY) + np.array(_DARK) * _PLATE_OPACITY
        for number, line in enumerate(lines):
            at = plate.left + margin, plate.top + margin / 2 + row * (number + 0.5)
            _put_text(self._view, line, at, _WHITE if number else _lighter(colour), self._zoom, bold=not number)

    def distance(self, box: Box, match: Match, colour: Colour) -> None:
        """Draw a bar under a box: the distance to the nearest person, with a white mark at the threshold."""
        left, bottom = self._place(box.left, box.bottom)
        parts = match.distance_sq / _MAX_DISTANCE_SQ, match.threshold_sq / _MAX_DISTANCE_SQ
        at = left, bottom + 4 * self._zoom
        _draw_bar(self._view, at, box.width * self._scale, parts, colour, self._zoom)

    def status(self, text: str, colour: Colour | None) -> None:
        """Write the state of the door on the panel, with `colour` as background."""
        bar = self.picture[self._layout.height : self._layout.height + self._layout.status_px]
        if colour:
            bar[:] = np.array(colour) * _GROUND_SHADE
        at = _MARGIN_PX * self._zoom, self._layout.status_px / 2
        _put_text(bar, _shorten(text, self._layout.width - 2 * at[0], self._zoom), at, _WHITE, self._zoom, bold=True)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return self._left + x * self._scale, self._top + y * self._scale

    def _free_place(self, box: Box, width: float, height: float, margin: float) -> Box:
        """Where a label of this size is drawn, in pixels of the picture."""
        (left, top), (_, bottom) = self._place(box.left, box.top), self._place(box.right, box.bottom)
        left = max(0.0, min(left, self._layout.width - width))
        above = top - margin
        for other in sorted(self._occupied, key=lambda each: -each.bottom):
            if other.iou(Box(left, above - height, left + width, above)):
                above = other.top - margin
        places = above - height, bottom + 4 * margin, 0.0
        top = next(place for place in places if 0 <= place <= self._layout.height - height or not place)
        return Box(left, top, left + width, top + height)


def _draw_bar(
    picture: BgrImage,
    at: tuple[float, float],
    width: float,
    parts: tuple[float, float | None],
    colour: Colour,
    zoom: float,
) -> None:
    """Draw a bar that is filled to the share `parts[0]` of its width, with a white mark at `parts[1]` unless None."""
    (left, top), height = at, _ROW_PX * zoom / 3
    filled, marked = parts
    for shade, share in ((_GREY, 1.0), (colour, min(filled, 1.0))):
        if share:
            cv2.rectangle(picture, _round((left, top)), _round((left + width * share, top + height)), shade, -1)
    if marked is None:
        return
    mark, overhang = left + width * min(marked, 1.0), 2 * zoom
    ends = _round((mark, top - overhang)), _round((mark, top + height + overhang))
    cv2.line(picture, *ends, _DARK, _line(zoom) + 2)
    cv2.line(picture, *ends, _WHITE, _line(zoom))


def _put_text(
    picture: BgrImage, text: str, at: tuple[float, float], colour: Colour, zoom: float, *, bold: bool = False
) -> None:
    """Draw text that begins at `at` and is vertically centred there."""
    weight = _weight(zoom, bold)
    (_, height), _ = cv2.getTextSize("X", _FONT, _TEXT_SCALE * zoom, weight)
    cv2.putText(
        picture, _drawable(text), _round((at[0], at[1] + height / 2)), _FONT, _TEXT_SCALE * zoom, colour, weight,
        cv2.LINE_AA,
    )  # fmt: skip


def _text_width(text: str, zoom: float, *, bold: bool = False) -> int:
    (width, _), _ = cv2.getTextSize(_drawable(text), _FONT, _TEXT_SCALE * zoom, _weight(zoom, bold))
    return width


def _lighter(colour: Colour) -> Colour:
    """A colour that is legible as text on a dark plate."""
    blue, green, red = (round(255 - (255 - part) * _TITLE_STRENGTH) for part in colour)
    return blue, green, red


def _shorten(text: str, width: float, zoom: float) -> str:
    """Text that is at most `width` wide when bold."""
    if _text_width(text, zoom, bold=True) <= width:
        return text
    while text and _text_width(text + "...", zoom, bold=True) > width:
        text = text[:-1]
    return text + "..."


def _drawable(text: str) -> str:
    if _HAS_TRUETYPE:
        return text
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _weight(zoom: float, bold: bool) -> int:
    if _HAS_TRUETYPE:
        return 2 if bold else 1
    return max(1, round(zoom * (1.4 if bold else 1)))  # pixels


def _line(zoom: float) -> int:
    return max(1, round(2 * zoom))


def _even(length: float) -> int:
    """The nearest even number of pixels: H.264 stores colour at half the resolution."""
    return max(2, 2 * round(length / 2))


def _round(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])
