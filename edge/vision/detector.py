"""BlazeFace face detector.

The network has outputs for a grid of anchors. This module resizes the picture into the square input, decodes the
anchors above the minimum score, and blends overlapping boxes (Bazarevsky et al. 2019, "BlazeFace", section 3.3:
blending instead of suppression keeps boxes from jittering).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

import cv2
import numpy as np

from edge.core.config import DetectorConfig
from edge.core.records import BgrImage, Box, Face, FloatArray, Frame
from edge.vision.manifest import AnchorLayer
from edge.vision.tflite import LoadedModel

_SURROUNDINGS = 2.0  # side of the square around a known face, in longer sides of its box
_Corners = tuple[float, float, float, float, float]  # left, top, right, bottom, area
_RawBox = Sequence[float]  # x and y of centre and size of the box, then of six keypoints
_LARGEST = 5  # largest ratio of picture to input side; larger pictures are halved first
_PADDING_GREY = 128  # around the picture; the networks were trained with zero at mid grey


class Detector:
    """Finds faces in whole frames of any size; not thread-safe."""

    def __init__(self, model: LoadedModel, config: DetectorConfig) -> None:
        self._model = model
        self._config = config
        self._min_logit = _logit(config.min_score)
        self._anchors = [
            (f"scores_{k}", f"boxes_{k}", _anchor_centres(layer, model.contract.size_px))
            for k, layer in enumerate(model.contract.anchors)
        ]
        self._canvas: _Letterbox | None = None

    def detect(self, frame: Frame) -> list[Face]:
        """Find faces anywhere in a frame, largest first, at most `max_faces`."""
        return self._faces(self._draw(frame.pixels))

    def detect_around(self, frame: Frame, face: Face) -> list[Face]:
        """Find faces around a recent detection, like `detect`, at a scale at which that face is large."""
        return self._faces(self._draw_around(frame.pixels, face))

    def _faces(self, place: _LetterboxTransform) -> list[Face]:
        """Run the model on its input, which was drawn at `place`."""
        self._model()
        answers, scores = self._answers()
        blended = _blend_overlapping(answers, scores, self._config.nms_iou)
        faces = [place.to_frame(answer, score) for answer, score in blended]
        faces.sort(key=lambda face: -face.box.area)
        return faces[: self._config.max_faces]

    def _draw(self, pixels: BgrImage) -> _LetterboxTransform:
        """Resize the whole picture into the middle of the input."""
        if self._canvas is None or self._canvas.shape != pixels.shape:
            self._model.pixels.fill(_PADDING_GREY)
            self._canvas = _Letterbox(pixels.shape, self._model.pixels)
        self._canvas.fill(pixels)
        return self._canvas.place

    def _draw_around(self, pixels: BgrImage, face: Face) -> _LetterboxTransform:
        """Fill the input with a square around a face, moved inwards at the edge of the picture."""
        height, width = pixels.shape[:2]
        side = max(1, min(round(_SURROUNDINGS * max(face.box.width, face.box.height)), height, width))
        x, y = face.box.centre
        left = min(max(round(x - side / 2), 0), width - side)
        top = min(max(round(y - side / 2), 0), height - side)
        _resize(pixels[top : top + side, left : left + side], self._model.pixels, cv2.INTER_LINEAR)
        self._canvas = None  # its grey border was overwritten
        scale = self._model.pixels.shape[0] / side
        return _LetterboxTransform(scale, 0.5 * scale - 0.5 - left * scale, 0.5 * scale - 0.5 - top * scale)

    def _answers(self) -> tuple[list[_RawBox], list[float]]:
        """Boxes of the anchors above the minimum score, in input pixels, and their scores."""
        answers: list[_RawBox] = []
        scores: list[float] = []
        for score, box, centres in self._anchors:
            rows = self._model.quantized_floor(score, self._min_logit)
            if rows.size:
                answers += (self._model.read(box, rows) + centres[rows]).tolist()
                scores += map(_sigmoid, self._model.read(score, rows).ravel().tolist())
        return answers, scores


@dataclass(frozen=True, slots=True)
class _LetterboxTransform:
    """Position of the frame in the input: input = frame * scale + (left, top), between pixel centres."""

    scale: float
    left: float
    top: float

    def to_frame(self, answer: _RawBox, score: float) -> Face:
        """Convert a box in input pixels to a face in frame pixels."""
        scale, left, top = self.scale, self.left, self.top
        centre, size, *points = zip(answer[::2], answer[1::2], strict=True)
        x, y = (centre[0] - left) / scale, (centre[1] - top) / scale
        width, height = size[0] / (2 * scale), size[1] / (2 * scale)
        keypoints = np.array([((x - left) / scale, (y - top) / scale) for x, y in points], np.float32)
        return Face(Box(x - width, y - height, x + width, y + height), keypoints, score)


class _Letterbox:
    """Position of frames of one shape in the square input, and the buffers for resizing.

    A picture is halved by exact 2x2 means while its side is more than five times that of the input, then resized
    bilinearly, which takes a fraction of the time of an area resize. Up to five times, aliasing loses no face: in 494
    noisy scenes of 640x480 the near model found a face in 466, and in 463 with another halving.
    """

    def __init__(self, shape: tuple[int, ...], target: BgrImage) -> None:
        height, width = shape[:2]
        side = target.shape[0]
        self.shape = shape  # of the frames
        scale = side / max(height, width)
        inside = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (side - inside[0]) // 2, (side - inside[1]) // 2
        # The centre of pixel x is at x + 0.5 from the edge, in the frame and in the input.
        self.place = _LetterboxTransform(scale, left + 0.5 * scale - 0.5, top + 0.5 * scale - 0.5)
        self._inside = target[top : top + inside[1], left : left + inside[0]]
        self._halves: list[BgrImage] = []
        while min(width // 2, height // 2) > 0 and max(height, width) > _LARGEST * side:
            height, width = height // 2, width // 2
            self._halves.append(np.empty((height, width, 3), np.uint8))

    def fill(self, pixels: BgrImage) -> None:
        """Draw a frame."""
        for half in self._halves:
            height, width = half.shape[:2]
            _resize(pixels[: 2 * height, : 2 * width], half, cv2.INTER_AREA)
            pixels = half
        _resize(pixels, self._inside, cv2.INTER_LINEAR)


def _resize(source: BgrImage, target: BgrImage, interpolation: int) -> None:
    written = cv2.resize(source, target.shape[1::-1], dst=target, interpolation=interpolation)
    assert np.shares_memory(written, target), "cv2.resize ignored dst"


def most_prominent_face(faces: list[Face], width_px: int, height_px: int) -> Face | None:
    """The subject of a portrait: the face with the largest area minus twice its squared distance from the centre."""

    def weight(face: Face) -> float:
        x, y = face.box.centre
        return face.box.area - 2 * ((x - width_px / 2) ** 2 + (y - height_px / 2) ** 2)

    return max(faces, key=weight, default=None)


def _anchor_centres(layer: AnchorLayer, size_px: int) -> FloatArray:
    """Offsets of the boxes of one SSD grid, row by row: (cells * cells * per_cell, 16) float32, input pixels.

    The offset of the centre of a box and of every keypoint is the centre of the anchor; that of the size is 0.
    """
    step = size_px / layer.cells
    along = (np.arange(layer.cells, dtype=np.float32) + 0.5) * np.float32(step) - 0.5
    x, y = np.meshgrid(along, along)
    centres = np.tile(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.per_cell, axis=0), 8)
    centres[:, 2:4] = 0
    return centres


def _blend_overlapping(answers: list[_RawBox], scores: list[float], nms_iou: float) -> list[tuple[_RawBox, float]]:
    """Merge boxes that overlap the best remaining one by more than `nms_iou`, weighted by score.

    Plain Python: a face has about twelve boxes, too few for numpy, whose code each model run evicts from the cache.
    """
    merged: list[tuple[_RawBox, float]] = []
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2, w * h) for x, y, w, h, *_ in answers]
    left = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    while left:
        best, *others = left
        same, left = [best], []
        for other in others:
            (same if _iou(boxes[best], boxes[other]) > nms_iou else left).append(other)
        weights = [scores[row] for row in same]
        total = sum(weights)
        columns = zip(*(answers[row] for row in same), strict=True)
        merged.append(([sum(map(mul, weights, column)) / total for column in columns], scores[best]))
    return merged


def _iou(one: _Corners, other: _Corners) -> float:
    """Like `Box.iou`, in half the time and without objects."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = width * height
    return shared / (one[4] + other[4] - shared) if width > 0 and height > 0 else 0.0


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
