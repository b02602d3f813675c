"""BlazeFace: where are the faces?

The network answers on a grid of anchors; this module places the picture into its square input, decodes the anchors
that pass the score, and blends overlapping answers (Bazarevsky et al. 2019, "BlazeFace", section 3.3: blending
instead of suppression keeps boxes from jittering).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.config import DetectorConfig
from edge.records import Box, Face, Floats, Frame, Pixels
from edge.vision.manifest import AnchorLayer
from edge.vision.tflite import Model

_GREY = 128  # what lies beyond the picture; the networks were trained with zero at mid grey


class Detector:
    """Finds faces in whole frames of any size; not thread-safe."""

    def __init__(self, model: Model, config: DetectorConfig) -> None:
        self._model = model
        self._config = config
        self._min_logit = _logit(config.min_score)
        self._anchors = [_anchor_centres(layer, model.contract.size_px) for layer in model.contract.anchors]
        self._canvas: _Canvas | None = None

    def detect(self, frame: Frame) -> list[Face]:
        """Faces of one frame, largest first, at most `max_faces`."""
        scale, left, top = self._place(frame.pixels)
        self._model()
        answers, scores = self._decode()
        answers[:, 0::2] = (answers[:, 0::2] - left) / scale
        answers[:, 1::2] = (answers[:, 1::2] - top) / scale
        faces = [_face(answer, score) for answer, score in _blend(answers, scores, self._config.max_overlap)]
        faces.sort(key=lambda face: -face.box.area)
        return faces[: self._config.max_faces]

    def _place(self, pixels: Pixels) -> tuple[float, float, float]:
        """Shrink the picture into the middle of the input; gives scale and offsets: input = frame * scale + offset."""
        if self._canvas is None or self._canvas.shape != pixels.shape:
            self._model.pixels.fill(_GREY)
            self._canvas = _Canvas(pixels.shape, self._model.pixels)
        self._canvas.fill(pixels)
        return self._canvas.scale, self._canvas.left, self._canvas.top

    def _decode(self) -> tuple[Floats, Floats]:
        """Answers above the score: corners and keypoints (K, 16) in input pixels, and scores (K,)."""
        answers, logits = [], []
        for k, centres in enumerate(self._anchors):
            rows = self._model.stored_at_least(f"scores_{k}", self._min_logit)
            if not rows.size:
                continue
            raw = self._model.read(f"boxes_{k}", rows)
            half = raw[:, 2:4] / 2
            centre = raw[:, 0:2] + centres[rows]
            keypoints = raw[:, 4:16].reshape(-1, 6, 2) + centres[rows, None, :]
            answers.append(np.concatenate([centre - half, centre + half, keypoints.reshape(-1, 12)], axis=1))
            logits.append(self._model.read(f"scores_{k}", rows)[:, 0])
        if not answers:
            return np.empty((0, 16), np.float32), np.empty(0, np.float32)
        return np.concatenate(answers), _sigmoid(np.concatenate(logits))


class _Canvas:
    """Where frames of one shape go in the square input, and the buffers on the way there.

    A picture is halved by exact 2x2 means while it is more than twice too large, then resized bilinearly: alias-free,
    in an eighth of the time of a general area resize.

    Attributes:
        shape: of the frames.
        scale, left, top: input = frame * scale + (left, top), between pixel centres.
    """

    def __init__(self, shape: tuple[int, ...], target: Pixels) -> None:
        height, width = shape[:2]
        side = target.shape[0]
        self.shape = shape
        self.scale = side / max(height, width)
        inside = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        left, top = (side - inside[0]) // 2, (side - inside[1]) // 2
        # The centre of frame pixel x lies at x + 0.5 from the edge, and so in the input.
        self.left = left + 0.5 * self.scale - 0.5
        self.top = top + 0.5 * self.scale - 0.5
        self._inside = target[top : top + inside[1], left : left + inside[0]]
        self._halves: list[Pixels] = []
        while min(width // 2, height // 2) > 0 and max(height, width) >= 2 * side:
            height, width = height // 2, width // 2
            self._halves.append(np.empty((height, width, 3), np.uint8))

    def fill(self, pixels: Pixels) -> None:
        """Draw a frame."""
        for half in self._halves:
            height, width = half.shape[:2]
            _resize(pixels[: 2 * height, : 2 * width], half, cv2.INTER_AREA)
            pixels = half
        _resize(pixels, self._inside, cv2.INTER_LINEAR)


def _resize(source: Pixels, target: Pixels, interpolation: int) -> None:
    written = cv2.resize(source, target.shape[1::-1], dst=target, interpolation=interpolation)
    assert np.shares_memory(written, target), "cv2.resize ignored dst"


def main_face(faces: list[Face], width_px: int, height_px: int) -> Face | None:
    """The subject of a portrait: large and central. Area minus twice the squared distance from the picture's centre."""

    def weight(face: Face) -> float:
        x, y = face.box.centre
        return face.box.area - 2 * ((x - width_px / 2) ** 2 + (y - height_px / 2) ** 2)

    return max(faces, key=weight, default=None)


def _anchor_centres(layer: AnchorLayer, size_px: int) -> Floats:
    """Centres (cells * cells * per_cell, 2) of one SSD grid in input pixels, row by row."""
    step = size_px / layer.cells
    along = (np.arange(layer.cells, dtype=np.float32) + 0.5) * np.float32(step) - 0.5
    x, y = np.meshgrid(along, along)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.per_cell, axis=0)


def _blend(answers: Floats, scores: Floats, max_overlap: float) -> list[tuple[Floats, float]]:
    """Merge answers that overlap the best remaining one by more than `max_overlap`, weighted by score."""
    low, high = answers[:, None, 0:2], answers[:, None, 2:4]
    shared = np.prod(np.maximum(np.minimum(high, answers[:, 2:4]) - np.maximum(low, answers[:, 0:2]), 0), axis=2)
    areas = np.prod(answers[:, 2:4] - answers[:, 0:2], axis=1)
    same = shared > max_overlap * (areas[:, None] + areas - shared)
    merged = []
    left = np.ones(len(scores), bool)
    for best in np.argsort(-scores, kind="stable").tolist():
        if left[best]:
            group = same[best] & left
            group[best] = True  # even a degenerate box is itself
            weights = scores[group]
            merged.append((weights @ answers[group] / weights.sum(), float(scores[best])))
            left &= ~group
    return merged


def _face(answer: Floats, score: float) -> Face:
    left, top, right, bottom = answer[:4].tolist()
    return Face(Box(left, top, right, bottom), answer[4:16].reshape(6, 2), score)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
