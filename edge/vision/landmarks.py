"""The 468-point face mesh (Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video").

The detector's keypoints give an upright square around the face; the network places the mesh in it; the mesh gives the
five points of alignment, far steadier than the detector's, and the head pose.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.records import Face, Floats, Frame, Landmarks
from edge.vision.tflite import Model

_SIDE = 1.5  # of the square around the face, in longer sides of the box; MediaPipe's face_landmark graph
_RIGHT_EYE, _LEFT_EYE = 0, 1  # detector keypoints
# Right eye, left eye, nose tip, right and left mouth corner, each as the mean of four mesh points.
_FIVE = np.array([(33, 133, 159, 145), (362, 263, 386, 374), (1,) * 4, (61,) * 4, (291,) * 4])
_EYE_CORNERS = (33, 263)
_FOREHEAD, _CHIN = 10, 152


class Mesh:
    """Places 468 points on a detected face; not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def locate(self, frame: Frame, face: Face) -> Landmarks:
        """The mesh of one face, in frame pixels."""
        size_px = self._model.contract.size_px
        to_input, to_frame, scale = _crop(face, size_px)
        pixels = self._model.pixels
        written = cv2.warpAffine(frame.pixels, to_input, (size_px, size_px), dst=pixels, flags=cv2.INTER_LINEAR)
        assert written is pixels, "cv2.warpAffine ignored dst"
        self._model()
        points = self._model.read("points").reshape(468, 3)
        presence = 1 / (1 + math.exp(-float(self._model.read("presence").item())))
        located = points * np.float32(scale)
        located[:, :2] = points[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
        return Landmarks(located, located[_FIVE, :2].mean(axis=1), presence)


def pose_deg(landmarks: Landmarks) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, as `records.Quality` defines them.

    From two axes of the mesh: the outer eye corners, and forehead to chin. The chin's own lean stays in:
    over the photos of Labeled Faces in the Wild the median pitch is -5.5 degrees.
    """
    points = landmarks.points_px
    x, y, z = (points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]]).tolist()
    yaw = math.atan2(z, math.hypot(x, y))
    roll = -math.atan2(y, x)
    x, y, z = (points[_CHIN] - points[_FOREHEAD]).tolist()
    pitch = math.atan2(-z, math.hypot(x, y))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _crop(face: Face, size_px: int) -> tuple[Floats, Floats, float]:
    """An upright square around the face: (2, 3) float32 maps from frame to input and back, frame px per input px."""
    x, y = (face.keypoints_px[_LEFT_EYE] - face.keypoints_px[_RIGHT_EYE]).tolist()
    angle = math.atan2(y, x)
    scale = _SIDE * max(face.box.width, face.box.height, 1.0) / size_px
    centre_x, centre_y = face.box.centre
    middle = (size_px - 1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    return (
        _turn(cos / scale, sin / scale, (centre_x, centre_y), (middle, middle)),
        _turn(cos * scale, -sin * scale, (middle, middle), (centre_x, centre_y)),
        scale,
    )


def _turn(cos: float, sin: float, about: tuple[float, float], to: tuple[float, float]) -> Floats:
    """The (2, 3) float32 map that turns and scales around `about` and moves it to `to`."""
    (x, y), (u, v) = about, to
    return np.array([[cos, sin, u - cos * x - sin * y], [-sin, cos, v + sin * x - cos * y]], np.float32)
