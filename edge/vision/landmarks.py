"""The 468-point face mesh (Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video").

The detector's keypoints give an upright square around the face; the network places the mesh in it; the mesh gives the
five points of alignment, far steadier than the detector's, and the head pose.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Face, Floats, Frame, Landmarks
from edge.vision.tflite import Model

_SIDE = 1.5  # of the square around the face, in longer sides of the box; MediaPipe's face_landmark graph
_RIGHT_EYE, _LEFT_EYE = 0, 1  # detector keypoints
_RIGHT_EYE_RING = (33, 133, 159, 145)
_LEFT_EYE_RING = (362, 263, 386, 374)
_NOSE_TIP = 1
_MOUTH_CORNERS = (61, 291)
_EYE_CORNERS = (33, 263)
_FOREHEAD, _CHIN = 10, 152


class Mesh:
    """Places 468 points on a detected face; not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def locate(self, frame: Frame, face: Face) -> Landmarks:
        """The mesh of one face, in frame pixels."""
        to_input = _crop(face, self._model.contract.size_px)
        pixels = self._model.pixels
        written = cv2.warpAffine(
            frame.pixels, to_input, pixels.shape[1::-1], dst=pixels, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)
        )
        assert written is pixels or np.shares_memory(written, pixels), "cv2.warpAffine ignored dst"
        self._model()
        points = self._model.read("points").reshape(468, 3)
        presence = 1 / (1 + math.exp(-float(self._model.read("presence").item())))
        to_frame = cv2.invertAffineTransform(to_input)
        scale = math.hypot(to_frame[0, 0], to_frame[1, 0])
        located = np.empty_like(points)
        located[:, :2] = points[:, :2] @ to_frame[:, :2].T.astype(np.float32) + to_frame[:, 2].astype(np.float32)
        located[:, 2] = points[:, 2] * scale
        return Landmarks(located, presence)


def five_points(landmarks: Landmarks) -> Floats:
    """Right eye, left eye, nose tip, right and left mouth corner: (5, 2) float32, frame pixels."""
    points = landmarks.points_px[:, :2]
    return np.stack(
        [
            points[list(_RIGHT_EYE_RING)].mean(axis=0),
            points[list(_LEFT_EYE_RING)].mean(axis=0),
            points[_NOSE_TIP],
            points[_MOUTH_CORNERS[0]],
            points[_MOUTH_CORNERS[1]],
        ]
    )


def pose_deg(landmarks: Landmarks) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, as `records.Quality` defines them.

    From two axes of the mesh: the outer eye corners, and forehead to chin. A frontal face leans its chin forward or
    back by a little in the mesh's depth; `_LEVEL_DEG` is that lean.
    """
    points = landmarks.points_px
    x, y, z = (float(v) for v in points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]])
    yaw = math.atan2(z, math.hypot(x, y))
    roll = -math.atan2(y, x)
    x, y, z = (float(v) for v in points[_CHIN] - points[_FOREHEAD])
    pitch = math.atan2(-z, math.hypot(x, y))
    return math.degrees(yaw), math.degrees(pitch) - _LEVEL_DEG, math.degrees(roll)


_LEVEL_DEG = 0.0


def _crop(face: Face, size_px: int) -> NDArray[np.float64]:
    """The (2, 3) float64 map from frame pixels to the network's input: an upright square around the face."""
    x, y = face.keypoints_px[_LEFT_EYE] - face.keypoints_px[_RIGHT_EYE]
    angle = math.degrees(math.atan2(float(y), float(x)))
    side = _SIDE * max(face.box.width, face.box.height, 1.0)
    matrix = np.asarray(cv2.getRotationMatrix2D(face.box.centre, angle, size_px / side), np.float64)
    matrix[:, 2] += (size_px - 1) / 2 - np.array(face.box.centre)
    return matrix
