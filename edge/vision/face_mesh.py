"""The 468-point face mesh (Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video").

The keypoints of the detector define an upright square around the face, in which the network locates the mesh. The mesh
gives the five points for alignment, which are much steadier than those of the detector, and the head pose.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from edge.core.records import BgrImage, Box, Face, FloatArray, Frame, Landmarks
from edge.vision.tflite import LoadedModel

_SIDE = 1.5  # side of the square around the face, in longer sides of the box; as in MediaPipe's face_landmark graph
_UPRIGHT = math.radians(5)  # faces with less roll are not rotated: no difference over 20 draws of ten folds
_RIGHT_EYE, _LEFT_EYE = 0, 1  # detector keypoints
_ABOVE = 0.05  # upward shift, in longer sides of the box, at which upward pitch is measured best
# Right eye, left eye, each the mean of four mesh points; nose tip, right and left mouth corner.
_FIVE = np.array([33, 133, 159, 145, 362, 263, 386, 374, 1, 61, 291])
_EYE_CORNERS = (33, 263)
_FOREHEAD, _CHIN = 10, 152


class FaceMesh:
    """Locates 468 points of a detected face; not thread-safe."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def locate(self, frame: Frame, face: Face) -> Landmarks:
        """Locate the mesh of one face, in frame pixels."""
        turn, shift = self._draw(frame.pixels, face)
        self._model()
        points = self._model.read("points").reshape(468, 3)
        if isinstance(turn, float):
            points *= np.float32(turn)
        else:
            points = points @ turn
        points += shift
        presence = 1 / (1 + math.exp(-self._model.read("presence").item()))
        return Landmarks(points, five_points(points), presence)

    def _draw(self, pixels: BgrImage, face: Face) -> tuple[FloatArray | float, FloatArray]:
        """Draw the square around a face into the input; its inverse is frame = input @ turn + shift, see `_crop`.

        A turn that only scales is a number. Most faces are upright and within the picture; they are cropped and
        resized, in a third of the time of a warp.
        """
        into = self._model.pixels
        size_px = self._model.contract.size_px
        side = round(_SIDE * max(face.box.width, face.box.height, 1.0))
        left, top = (round(middle - side / 2) for middle in face.box.centre)
        height, width = pixels.shape[:2]
        inside = left >= 0 and top >= 0 and left + side <= width and top + side <= height
        if inside and abs(_roll_deg(face)) < _UPRIGHT:
            written = cv2.resize(pixels[top : top + side, left : left + side], (size_px, size_px), dst=into)
            assert written is into, "cv2.resize ignored dst"
            scale = side / size_px
            # Between centres of pixels: frame + 0.5 = (input + 0.5) * scale + corner.
            corner = (left + 0.5 * scale - 0.5, top + 0.5 * scale - 0.5, 0.0)
            return scale, np.array(corner, np.float32)
        to_input, turn, shift = _crop(face, size_px)
        written = cv2.warpAffine(pixels, to_input, (size_px, size_px), dst=into, flags=cv2.INTER_LINEAR)
        assert written is into, "cv2.warpAffine ignored dst"
        return turn, shift


def eye_centred(face: Face) -> Face:
    """The face with its box moved to where the mesh measures yaw best: centred on the eyes, and a little higher.

    The near detector's box contains a whole turned head, and the mesh takes the middle of the box for frontal. Of 38
    people of LFW with a simulated yaw of 28 degrees (as in `pad`), one in ten is measured as less than 12 degrees, and
    with this box as less than 22.
    """
    right, left = face.keypoints_px[[_RIGHT_EYE, _LEFT_EYE]].tolist()
    roll, (x, y) = _roll_deg(face), face.box.centre
    cos, sin = math.cos(roll), math.sin(roll)
    across = cos * ((right[0] + left[0]) / 2 - x) + sin * ((right[1] + left[1]) / 2 - y)
    up = _ABOVE * max(face.box.width, face.box.height)
    move_x, move_y = cos * across + sin * up, sin * across - cos * up
    box = face.box
    return replace(face, box=Box(box.left + move_x, box.top + move_y, box.right + move_x, box.bottom + move_y))


def pose_deg(landmarks: Landmarks) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, as `records.Quality` defines them.

    They are the angles of two axes of the mesh: the outer eye corners, and forehead to chin. The slope of the chin is
    not corrected: the median pitch over the photos of Labeled Faces in the Wild is -5.5 degrees.
    """
    x, y, z = _angle_between(landmarks.points_px, *_EYE_CORNERS)
    yaw = math.atan2(z, math.hypot(x, y))
    roll = -math.atan2(y, x)
    x, y, z = _angle_between(landmarks.points_px, _FOREHEAD, _CHIN)
    pitch = math.atan2(-z, math.hypot(x, y))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _angle_between(points: FloatArray, start: int, end: int) -> tuple[float, float, float]:
    """Vector from one point of a mesh to another."""
    (x, y, z), (to_x, to_y, to_z) = points[start].tolist(), points[end].tolist()
    return to_x - x, to_y - y, to_z - z


def five_points(points: FloatArray) -> FloatArray:
    """The five points for alignment, (5, 2), from the points of a mesh, (468, 2 or 3)."""
    rows = points[_FIVE, :2].tolist()
    eyes = [[sum(column) / 4 for column in zip(*rows[first : first + 4], strict=True)] for first in (0, 4)]
    return np.array([*eyes, *rows[8:]], np.float32)


def _crop(face: Face, size_px: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transform that rotates a square around the face upright, and its inverse.

    Returns:
        (2, 3) float32 from frame to input; then (3, 3) and (3,) float32 with frame = input @ turn + shift for rows
        (x, y, z).
    """
    angle = _roll_deg(face)
    scale = _SIDE * max(face.box.width, face.box.height, 1.0) / size_px
    centre_x, centre_y = face.box.centre
    middle = (size_px - 1) / 2
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    shift_x, shift_y = middle - cos * centre_x - sin * centre_y, middle + sin * centre_x - cos * centre_y
    to_input = np.array([[cos, sin, shift_x], [-sin, cos, shift_y]], np.float32)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, scale]], np.float32)
    back = (centre_x - (cos - sin) * middle, centre_y - (sin + cos) * middle, 0.0)
    return to_input, turn, np.array(back, np.float32)


def _roll_deg(face: Face) -> float:
    """Angle in radians of the line between the detector's eyes; positive if the person's left eye is lower."""
    (right_x, right_y), (left_x, left_y) = face.keypoints_px[[_RIGHT_EYE, _LEFT_EYE]].tolist()
    return math.atan2(left_y - right_y, left_x - right_x)
