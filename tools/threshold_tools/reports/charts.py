"""Plots as inline SVG: colours come from CSS variables of the page, values from titles under the pointer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape

COLOURS = 10  # of the page
WIDTH, HEIGHT = 440, 300  # units of the drawing; about pixels on a phone
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 40  # margins
_HOVERS = 80  # points of a line that show their value
_SYMLOG_FROM = 0.1  # below this a symmetric logarithmic axis is linear

_CORNERS = 2000  # of a stepped line

Point = tuple[float, float]
Tip = Callable[[float, float], str]


@dataclass(frozen=True, slots=True)
class ChartAxis:
    """One axis; `place` maps a value to a position on it in any unit."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]  # value and text
    place: Callable[[float], float] = float

    @classmethod
    def linear(cls, label: str, low: float, high: float, step: float) -> ChartAxis:
        """An axis with a tick at each multiple of `step`."""
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return cls(label, low, high, [(number * step, f"{number * step:g}") for number in range(first, last + 1)])

    @classmethod
    def logarithmic(cls, label: str, low: float, high: float, unit: float = 1.0) -> ChartAxis:
        """An axis with a tick at each power of ten; tick texts are values times `unit`."""
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        ticks = [(10.0**power, f"{10.0**power * unit:g}") for power in powers]
        return cls(label, low, high, ticks, lambda value: math.log10(max(value, low)))

    @classmethod
    def percent_from_zero(cls, label: str, linear_to: float = _SYMLOG_FROM) -> ChartAxis:
        """An axis from 0 to 100 percent, linear up to `linear_to` and logarithmic above."""
        values = [0.0, *(value for value in (0.1, 1.0, 10.0, 100.0) if value >= linear_to)]

        def place(value: float) -> float:
            return value / linear_to if value <= linear_to else 1 + math.log10(value / linear_to)

        return cls(label, 0, 100, [(value, f"{value:g}") for value in values], place)

    def share(self, value: float) -> float:
        """Position of a value between the ends of the axis, 0..1."""
        low, high = self.place(self.low), self.place(self.high)
        return (self.place(min(max(value, self.low), self.high)) - low) / (high - low)


@dataclass(slots=True)
class Chart:
    """A plot; series are drawn in the order of the calls.

    A `colour` is the number of one of the ten colours of the page, or 0 for the colour of text.
    """

    title: str
    x: ChartAxis
    y: ChartAxis
    note: str = ""
    legend: list[tuple[int, str, str]] = field(default_factory=list)  # colour, text, "fill", "line" or "dashed"
    _parts: list[Markup] = field(default_factory=list)
    _hovers: list[Markup] = field(default_factory=list)

    def line(
        self, points: Sequence[Point], colour: int, label: str = "", *, dashed: bool = False, tip: Tip | None = None
    ) -> None:
        """A line through points; `tip` makes the text that a point shows under the pointer."""
        self._polyline(points, colour, label, dashed)
        self._hover_points(points, colour, tip)

    def steps(self, points: Sequence[Point], colour: int, label: str = "", *, tip: Tip | None = None) -> None:
        """A line that keeps each value until the next point; `tip` as for `line`."""
        corners: list[Point] = []
        for x, y in points:
            if corners:
                corners.append((x, corners[-1][1]))
            corners.append((x, y))
        self._polyline(_thinned(corners, _CORNERS), colour, label, False)
        self._hover_points(points, colour, tip)

    def bars(self, edges: Sequence[float], series: Sequence[tuple[Sequence[float], int, str]], unit: str = "") -> None:
        """Histograms over common bins, one over the other.

        Args:
            edges: N + 1 bounds of the bins.
            series: N heights, colour and label of each histogram.
            unit: unit of the heights, for the texts under the pointer.
        """
        floor = self.y.low
        for heights, colour, label in series:
            corners: list[Point] = [(edges[0], floor)]
            for number, height in enumerate(heights):
                corners += [(edges[number], max(height, floor)), (edges[number + 1], max(height, floor))]
            path = self._path([*corners, (edges[len(heights)], floor)])
            self._parts.append(Markup('<path class="area c{}" d="{}Z"/>').format(colour, path))
            self.legend.append((colour, label, "fill"))
        for number in range(len(edges) - 1):
            texts = [f"{label} {each[number]:.2g}{unit}" for each, _, label in series if each[number]]
            if texts and edges[number + 1] <= self.x.high:
                text = f"{edges[number]:.2f} to {edges[number + 1]:.2f}: {', '.join(texts)}"
                left, right = self._at_x(edges[number]), self._at_x(edges[number + 1])
                self._hovers.append(
                    Markup(
                        '<rect class="hit" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>'
                    ).format(left, _TOP, right - left, HEIGHT - _TOP - _BOTTOM, text)
                )

    def dots(self, points: Iterable[tuple[float, float, str]], colour: int, label: str = "", size: float = 3.5) -> None:
        """Points with the text that each shows under the pointer."""
        for x, y, text in points:
            where = self._at_x(x), self._at_y(y)
            circle = Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
            self._parts.append(circle.format(colour, *where, size, text))
        if label:
            self.legend.append((colour, label, "fill"))

    def spans(self, spans: Iterable[tuple[float, float, float]], colour: int) -> None:
        """Vertical intervals: place, low, high."""
        for x, low, high in spans:
            across, top, bottom = self._at_x(x), self._at_y(high), self._at_y(low)
            shape = f"M{across:.1f} {bottom:.1f}V{top:.1f}M{across - 4:.1f} {bottom:.1f}h8M{across - 4:.1f} {top:.1f}h8"
            self._parts.append(Markup('<path class="line c{}" d="{}"/>').format(colour, shape))

    def limit(self, *, x: float | None = None, y: float | None = None, text: str = "", level: int = 0) -> None:
        """A labelled line across the plot, upright at `x` or level at `y`.

        `level` makes an upright line shorter: levels that rise from left to right keep the labels apart.
        """
        if x is not None:
            across = self._at_x(x)
            top = _TOP + 14 * level
            self._parts.append(Markup('<path class="limit" d="M{:.1f} {}V{}"/>').format(across, top, HEIGHT - _BOTTOM))
            start = across < WIDTH * 0.68
            self._text(across + (5 if start else -5), top + 11, text, "start" if start else "end")
        if y is not None:
            up = self._at_y(y)
            self._parts.append(Markup('<path class="limit" d="M{} {:.1f}H{}"/>').format(_LEFT, up, WIDTH - _RIGHT))
            self._text(WIDTH - _RIGHT - 4, up - 5, text, "end")

    def text_at(self, point: Point, text: str) -> None:
        """A text at the right of a point."""
        self._text(self._at_x(point[0]) + 7, self._at_y(point[1]) - 5, text, "start")

    @property
    def svg(self) -> Markup:
        """The plot as an <svg> element."""
        grid = [
            Markup('<path class="grid" d="M{:.1f} {}V{}"/>').format(self._at_x(value), _TOP, HEIGHT - _BOTTOM)
            + Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                self._at_x(value), HEIGHT - _BOTTOM + 16, text
            )
            for value, text in self.x.ticks
        ]
        grid += [
            Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, self._at_y(value), WIDTH - _RIGHT)
            + Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 6, self._at_y(value) + 4, text
            )
            for value, text in self.y.ticks
        ]
        labels = [
            Markup('<text class="axis" x="2" y="14">{}</text>').format(self.y.label),
            Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
                WIDTH - _RIGHT, HEIGHT - 6, self.x.label
            ),
        ]
        name = escape(f"{self.title}. Horizontal: {self.x.label}. Vertical: {self.y.label}.")
        head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, name)
        return head + Markup("\n").join([*grid, *labels, *self._parts, *self._hovers]) + Markup("</svg>")

    def _polyline(self, points: Sequence[Point], colour: int, label: str, dashed: bool) -> None:
        style = "line dashed" if dashed else "line"
        if len(points) > 1:
            self._parts.append(Markup('<path class="{} c{}" d="{}"/>').format(style, colour, self._path(points)))
        if label:
            self.legend.append((colour, label, "dashed" if dashed else "line"))

    def _hover_points(self, points: Sequence[Point], colour: int, tip: Tip | None) -> None:
        if tip is None:
            return
        circle = Markup('<circle class="hit c{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>')
        for x, y in _thinned(points, _HOVERS):
            self._hovers.append(circle.format(colour, self._at_x(x), self._at_y(y), tip(x, y)))

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._parts.append(
            Markup('<text class="mark" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
        )

    def _path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{self._at_x(x):.1f} {self._at_y(y):.1f}" for x, y in points)

    def _at_x(self, value: float) -> float:
        return _LEFT + self.x.share(value) * (WIDTH - _LEFT - _RIGHT)

    def _at_y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - self.y.share(value) * (HEIGHT - _TOP - _BOTTOM)


def _thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """At most `most` of the points, evenly by their number, both ends included."""
    if len(points) <= most:
        return points
    return [points[row] for row in np.unique(np.linspace(0, len(points) - 1, most).astype(int)).tolist()]
