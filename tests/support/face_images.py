"""Synthetic faces, tracks and vectors for tests of the pure stages."""

from __future__ import annotations

import numpy as np

from edge.core.config import RecognitionConfig
from edge.core.records import Box, Face, FloatArray, Quality, Sample, Track

DIMENSION = 192
GOOD = Quality(1.0, 60.0, 0.0, 0.0, 0.0, 500.0)
BLURRED = Quality(0.0, 60.0, 0.0, 0.0, 0.0, 1.0, "blurred")
RECOGNITION = RecognitionConfig(
    margin_sq=0.1,
    min_samples=3,
    vote_slack_sq=0.25,
    unknown_samples=6,
    sample_every_s=0.1,
    recheck_every_s=1.0,
    track_consistency_sq=1.5,
    same_stranger_sq=1.0,
    cooldown_s=10.0,
)


def face(x: float, y: float, side: float = 100.0) -> Face:
    """Return a square face with its centre at (x, y)."""
    half = side / 2
    box = Box(x - half, y - half, x + half, y + half)
    eyes = [[x - side / 5, y], [x + side / 5, y], [x, y + side / 5], [x, y + side / 3], [x - half, y], [x + half, y]]
    return Face(box, np.array(eyes, np.float32), 0.9)


def track(number: int = 1, *, t_ns: int = 0, lost: bool = False) -> Track:
    """Return a track with one frame."""
    return Track(number, face(320, 240), first_ns=0, last_ns=t_ns, hits=1, lost=lost)


def direction(axis: int) -> FloatArray:
    """Return one of the D perpendicular unit vectors, at squared distance 2 from each other."""
    vector = np.zeros(DIMENSION, np.float32)
    vector[axis] = 1
    return vector


def towards(start: FloatArray, end: FloatArray, distance_sq: float) -> FloatArray:
    """The unit vector at `distance_sq` from `start`, in the plane of the perpendicular `start` and `end`."""
    cosine = 1 - distance_sq / 2
    return np.asarray(cosine * start + np.sqrt(1 - cosine**2) * end, np.float32)


def sample(embedding: FloatArray | None, quality: Quality = GOOD) -> Sample:
    """Return a sample with this embedding, or a rejected sample."""
    return Sample(embedding, quality if embedding is not None else BLURRED, None)
