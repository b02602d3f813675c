"""How much a sample may weigh as evidence, and which samples may not count at all."""

from __future__ import annotations

import math

import cv2

from edge.config import QualityConfig
from edge.records import Floats, Landmarks, Pixels, Quality
from edge.vision.landmarks import pose_deg

_GENEROUS = 0.7  # the detector's eyes are less exact than the mesh's: refuse early only what is clearly too small
_LEAST = 0.05  # a sample that is not refused always weighs a little


def assess(landmarks: Landmarks, crop: Pixels, config: QualityConfig) -> Quality:
    """Judge one aligned face.

    Args:
        landmarks: its mesh, frame pixels.
        crop: (112, 112, 3) uint8 BGR, aligned.
    """
    size_px = _eye_distance(landmarks.five_px)
    yaw, pitch, roll = pose_deg(landmarks)
    sharpness = _sharpness(crop)
    refusal = _refusal(landmarks.presence, size_px, yaw, pitch, sharpness, config)
    value = 0.0
    if not refusal:
        size = min(1.0, size_px / config.full_size_px)
        pose = math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))
        sharp = min(1.0, sharpness / config.full_sharpness)
        value = max(_LEAST, size * pose**2 * math.sqrt(sharp))
    return Quality(value, size_px, yaw, pitch, roll, sharpness, refusal)


def too_small(keypoints_px: Floats, config: QualityConfig) -> Quality | None:
    """A refusal from the detector's keypoints alone, so that a tiny face costs no more; None if it is large enough."""
    size_px = _eye_distance(keypoints_px)
    if size_px >= _GENEROUS * config.min_size_px:
        return None
    return Quality(0.0, size_px, 0.0, 0.0, 0.0, 0.0, "too-small")


def _refusal(presence: float, size_px: float, yaw: float, pitch: float, sharpness: float, config: QualityConfig) -> str:
    """The first condition that fails, or ""."""
    conditions = (
        ("no-face", presence >= config.min_presence),
        ("too-small", size_px >= config.min_size_px),
        ("turned-away", abs(yaw) <= config.max_yaw_deg),
        ("tilted", abs(pitch) <= config.max_pitch_deg),
        ("blurred", sharpness >= config.min_sharpness),
    )
    return next((reason for reason, holds in conditions if not holds), "")


def _sharpness(crop: Pixels) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the inner face, grey levels squared."""
    height, width = crop.shape[:2]
    inner = crop[height // 8 : -height // 8, width // 8 : -width // 8]
    grey = cv2.cvtColor(inner, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)


def _eye_distance(points_px: Floats) -> float:
    """Of points that begin with the two eyes."""
    return math.dist(points_px[0].tolist(), points_px[1].tolist())
