"""From a photo to what each model sees: letterboxed photo, turned face, aligned face; the door's way, on any runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Affine = NDArray[np.float64]

# ArcFace's five-point template for 112x112: eyes, nose tip, mouth corners, from the left of the image to the right.
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# Where they lie among the 468 points of the face mesh.
EYES = ((33, 133, 159, 145), (362, 263, 386, 374))
NOSE, MOUTH = 1, (61, 291)
MESH_MARGIN = 1.5  # side of the mesh's crop: so many times the longer side of the detector's box
MIN_SCORE = 0.5
MAX_OVERLAP = 0.3


class Runner(Protocol):
    """A loaded model: pixels (H, W, 3) uint8 BGR in, float32 arrays by role out."""

    size_px: int

    def __call__(self, pixels: Pixels) -> dict[str, Floats]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face in image pixels: box (left, top, right, bottom), keypoints (6, 2), score 0..1."""

    box: Floats
    keypoints: Floats
    score: float

    @property
    def eye_distance(self) -> float:
        """Pixels between the eyes."""
        return float(np.linalg.norm(self.keypoints[1] - self.keypoints[0]))


def letterbox(image: Pixels, size: int) -> tuple[Pixels, Affine]:
    """The whole image, centred in a square of `size` with black bars, and the transform from image to square."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    forward = np.array([[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]])
    inner = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    square = np.zeros((size, size, 3), np.uint8)
    top, left = round((size - inner.shape[0]) / 2), round((size - inner.shape[1]) / 2)
    square[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return square, forward


def anchors(layers: tuple[tuple[int, int], ...]) -> Floats:
    """Anchor centres (N, 2) in 0..1 for (cells, per_cell) grids, row by row, as MediaPipe's SSD anchors."""
    parts = []
    for cells, per_cell in layers:
        centres = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0))
    return np.concatenate(parts).astype(np.float32)


def decode(outputs: dict[str, Floats], layers: tuple[tuple[int, int], ...], size: int) -> tuple[Floats, Floats]:
    """Points (N, 8, 2) in input pixels (box corners, then six keypoints) and scores (N,) of all anchors."""
    raw = np.concatenate([outputs[f"boxes_{k}"].reshape(-1, 8, 2) for k in range(len(layers))])
    logits = np.concatenate([outputs[f"scores_{k}"].reshape(-1) for k in range(len(layers))])
    points = raw.copy()
    points[:, 1] = 0
    points += anchors(layers)[:, None] * size
    centre, half = points[:, 0].copy(), raw[:, 1] / 2
    points[:, 0], points[:, 1] = centre - half, centre + half
    return points, 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def detect(
    runner: Runner, layers: tuple[tuple[int, int], ...], image: Pixels, min_score: float = MIN_SCORE
) -> Detection | None:
    """The most central large face of a photo, overlapping anchors averaged by score; None if there is none."""
    square, forward = letterbox(image, runner.size_px)
    points, scores = decode(runner(square), layers, runner.size_px)
    points, scores = points[scores > min_score], scores[scores > min_score]
    faces: list[Detection] = []
    order = np.argsort(-scores)
    while order.size:
        near = overlap(points[order[0]], points[order]) > MAX_OVERLAP
        group = order[near] if near.any() else order[:1]
        mean = np.average(points[group], axis=0, weights=scores[group])
        mean = (mean - forward[:, 2]) / forward[0, 0]
        faces.append(
            Detection(mean[:2].ravel().astype(np.float32), mean[2:].astype(np.float32), float(scores[order[0]]))
        )
        order = order[~near] if near.any() else order[1:]
    centre = np.array(image.shape[1::-1]) / 2

    def prominence(face: Detection) -> float:
        corners = face.box.reshape(2, 2)
        return float(np.prod(corners[1] - corners[0]) - ((corners.mean(axis=0) - centre) ** 2).sum())

    return max(faces, key=prominence, default=None)


def overlap(one: Floats, many: Floats) -> Floats:
    """Intersection over union of the box of `one` (>=2, 2) with those of `many` (N, >=2, 2)."""
    sides = np.minimum(one[1], many[:, 1]) - np.maximum(one[0], many[:, 0])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    union = np.prod(one[1] - one[0]) + np.prod(many[:, 1] - many[:, 0], axis=1) - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def mesh_crop(image: Pixels, face: Detection, size: int) -> tuple[Pixels, Affine]:
    """The face turned upright for the mesh, and the transform from image to crop."""
    corners = face.box.reshape(2, 2).astype(np.float64)
    centre, side = corners.mean(axis=0), MESH_MARGIN * (corners[1] - corners[0]).max()
    line = face.keypoints[1] - face.keypoints[0]
    angle = np.arctan2(line[1], line[0])
    turn = size / side * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    forward = np.column_stack([turn, np.array([size / 2, size / 2]) - turn @ centre])
    return warp(image, forward, size), forward


def five_points(mesh: Floats) -> Floats:
    """The template's five points (5, 2) from mesh points (468, >=2)."""
    eyes = [mesh[list(eye), :2].mean(axis=0) for eye in EYES]
    return np.stack([*eyes, mesh[NOSE, :2], mesh[MOUTH[0], :2], mesh[MOUTH[1], :2]])


def aligned(image: Pixels, points: Floats, size: int) -> Pixels:
    """The face warped so that its five points (image pixels) lie on the template."""
    return warp(image, similarity(points, np.array(TEMPLATE_PX) * size / 112), size)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Affine:
    """Least-squares rotation, scale and shift (2, 3) from source to target points (N, 2); Umeyama 1991 in the plane."""
    s, t = source - source.mean(axis=0), target - target.mean(axis=0)
    scale = (s**2).sum()
    a, b = (s * t).sum() / scale, (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / scale
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, target.mean(axis=0) - turn @ source.mean(axis=0)])


def back(points: Floats, forward: Affine) -> Floats:
    """Points (N, 2) of a crop in image pixels."""
    inverse = cv2.invertAffineTransform(forward)
    return np.asarray(points @ inverse[:, :2].T + inverse[:, 2], np.float32)


def warp(image: Pixels, forward: Affine, size: int) -> Pixels:
    """The image under an affine transform, bilinear, black outside."""
    return np.asarray(cv2.warpAffine(image, forward, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
