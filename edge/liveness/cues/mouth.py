"""Does the mouth move? From the mesh alone; a replayed clip speaks as its owner did."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge.core.records import Landmarks

# Of the mesh of MediaPipe: middle of the upper lip's upper edge and of the lower lip's lower edge, forehead, chin.
_UPPER, _LOWER, _FOREHEAD, _CHIN = 0, 17, 10, 152


def mouth_openness(landmarks: Landmarks) -> float:
    """Height of the mouth as a share of the height of the face, so that nods and distance cancel."""
    points = landmarks.points_px[[_UPPER, _LOWER, _FOREHEAD, _CHIN], :2].tolist()
    return math.dist(points[0], points[1]) / max(math.dist(points[2], points[3]), 1e-6)


def mouth_variation(openings: Sequence[float]) -> float:
    """Standard deviation of the openings of several looks."""
    return float(np.std(openings))
