"""Cue: movement of the mouth, from the mesh. A replayed clip of a speaking person has it, too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge.core.records import Landmarks

# Points of MediaPipe's mesh: middle of the upper edge of the upper lip and of the lower edge of the lower lip;
# forehead, chin.
_UPPER, _LOWER, _FOREHEAD, _CHIN = 0, 17, 10, 152


def mouth_openness(landmarks: Landmarks) -> float:
    """Height of the mouth as a share of the height of the face, which cancels nods and distance."""
    points = landmarks.points_px[[_UPPER, _LOWER, _FOREHEAD, _CHIN], :2].tolist()
    return math.dist(points[0], points[1]) / max(math.dist(points[2], points[3]), 1e-6)


def mouth_variation(openings: Sequence[float]) -> float:
    """Standard deviation of the openness over several samples."""
    return float(np.std(openings))
