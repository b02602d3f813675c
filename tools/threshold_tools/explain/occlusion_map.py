"""Measures which parts of a face determine the distance, by covering them.

Occlusion sensitivity (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2): a
grey patch covers one part of the aligned face after another, and the distance to the other vector is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from edge.core.records import BgrImage, FloatArray
from edge.vision.embedder import Embedder
from threshold_tools.explain.report import OcclusionMap
from threshold_tools.reports.terminal import track

CELLS = 12  # positions of the patch along a side
PATCH_PX = 24  # side of the patch, about the width of an eye
_GREY = 128  # the middle of the embedder's input range
_FIVE = ("right eye", "left eye", "nose", "mouth", "mouth")  # in the order of the template


def occlusion_map(
    embedder: Embedder, crop: BgrImage, target: FloatArray, template_px: Sequence[tuple[float, float]]
) -> OcclusionMap:
    """Measure the distance for each position of a grey patch on a face.

    Args:
        embedder: embedder; its input picture is overwritten.
        crop: (H, W, 3) uint8 BGR, aligned to the embedder's template.
        target: (D,) float32 unit vector to measure the distance to.
        template_px: positions of the five points in the crop.
    """
    height, width = crop.shape[:2]
    grid = np.zeros((CELLS, CELLS))
    without = _distance_sq(embedder, crop, target)
    for row, y in enumerate(track(_centres(height), "Covering parts of the face")):
        for column, x in enumerate(_centres(width)):
            covered = crop.copy()
            covered[_span(y, height), _span(x, width)] = _GREY
            grid[row, column] = _distance_sq(embedder, covered, target) - without
    return OcclusionMap(np.round(grid, 4).tolist(), _regions(grid, template_px, (width, height)), PATCH_PX)


def _distance_sq(embedder: Embedder, crop: BgrImage, target: FloatArray) -> float:
    embedder.pixels[:] = crop
    return max(2 - 2 * float(embedder.embed() @ target), 0.0)


def _centres(side_px: int) -> list[float]:
    return [(cell + 0.5) * side_px / CELLS - 0.5 for cell in range(CELLS)]


def _span(centre: float, side_px: int) -> slice:
    start = round(centre + 0.5 - PATCH_PX / 2)
    return slice(max(start, 0), min(start + PATCH_PX, side_px))


def _regions(grid: np.ndarray, template_px: Sequence[tuple[float, float]], size: tuple[int, int]) -> dict[str, float]:
    """Mean over the cells nearest to each named place of the face, largest absolute value first."""
    places = _places(template_px, size)
    cells = itertools.product(_centres(size[1]), _centres(size[0]))
    names = [min(places, key=lambda place: (place[1] - x) ** 2 + (place[2] - y) ** 2)[0] for y, x in cells]
    owners = np.reshape(names, grid.shape)
    means = {name: round(float(grid[owners == name].mean()), 4) for name in dict.fromkeys(names)}
    return dict(sorted(means.items(), key=lambda item: -abs(item[1])))


def _places(template_px: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[tuple[str, float, float]]:
    """Names and positions of the five points, and of places between them and the border."""
    (right_x, eye_y), (left_x, _), (nose_x, nose_y), (_, mouth_y), _ = template_px
    width, height = size
    named = [(name, x, y) for name, (x, y) in zip(_FIVE, template_px, strict=True)]
    return [
        *named,
        ("brows", nose_x, eye_y * 0.6),
        ("forehead", right_x, eye_y * 0.2),
        ("forehead", left_x, eye_y * 0.2),
        ("right cheek", right_x * 0.4, nose_y),
        ("left cheek", (left_x + width * 1.5) / 2.5, nose_y),
        ("chin", nose_x, (mouth_y + height) / 2 + 3),
        ("background", 0.0, eye_y * 0.6),
        ("background", float(width), eye_y * 0.6),
        ("background", 0.0, float(height)),
        ("background", float(width), float(height)),
    ]
