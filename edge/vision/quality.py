"""Quality of samples: refusal of unusable ones, and the weight of the others.

Measurements before embedding can only refuse a sample. The weight is computed from the embedding norm alone: it
predicts the distance to the person's centroid better than all other measurements together, and size, pose and sharpness
as further factors do not improve fusion (docs/lab/index.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from edge.core.config import QualityConfig
from edge.core.records import BgrImage, FloatArray, Landmarks, Quality
from edge.vision.face_mesh import pose_deg

# The eyes of the detector are less exact than those of the mesh: only clearly too small faces are refused early.
_SOFT_LIMIT_FACTOR = 0.7
_LEAST = 0.05  # smallest weight of a sample that is not refused
_NORM_FLOOR = 0.43  # norm with almost no information: below 0.5, 99 of 100 samples are beyond the threshold
_WHITE = 244.0  # grey level above which a pixel has no detail left


def measure_quality(landmarks: Landmarks, crop: BgrImage, config: QualityConfig) -> Quality:
    """Measure one aligned face; the weight is 1, or 0 if the sample is refused.

    Args:
        landmarks: mesh of the face, frame pixels.
        crop: (112, 112, 3) uint8 BGR, aligned.
    """
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), np.uint8)
    yaw, pitch, roll = pose_deg(landmarks)
    brightness, glare = _exposure(grey)
    size_px = _eye_distance(landmarks.five_px)
    seen = Quality(1.0, size_px, yaw, pitch, roll, _sharpness(grey), "", brightness, glare)
    refusal = _refusal(landmarks.presence, seen, config)
    return replace(seen, weight=0.0, refusal=refusal) if refusal else seen


def with_embedding_norm(seen: Quality, strength: float, config: QualityConfig) -> Quality:
    """Add the embedding norm: sets the weight, or refuses the sample as "unclear".

    The weight grows with the square of the norm above `_NORM_FLOOR`, up to 1 at `full_weight_norm`.

    Args:
        strength: embedding norm in typical lengths of the embedder; 0: unknown, the weight stays.
    """
    if not strength:
        return seen
    if strength < config.min_norm:
        return replace(seen, weight=0.0, embedding_norm=strength, refusal="unclear")
    above = max(strength - _NORM_FLOOR, 0.0) / max(config.full_weight_norm - _NORM_FLOOR, 1e-6)
    return replace(seen, weight=max(_LEAST, min(above, 1.0) ** 2), embedding_norm=strength)


def apply_limits(measured: Quality, presence: float, config: QualityConfig) -> Quality:
    """Apply the limits of another configuration to a measured quality."""
    plain = replace(measured, weight=1.0, refusal="")
    refusal = _refusal(presence, plain, config)
    if refusal:
        return replace(plain, weight=0.0, refusal=refusal)
    return with_embedding_norm(plain, measured.embedding_norm, config)


def too_small(keypoints_px: FloatArray, config: QualityConfig) -> Quality | None:
    """Refusal of a tiny face by the keypoints of the detector, before the mesh runs; None if it is large enough."""
    size_px = _eye_distance(keypoints_px)
    if size_px >= _SOFT_LIMIT_FACTOR * config.min_size_px:
        return None
    return Quality(0.0, size_px, 0.0, 0.0, 0.0, 0.0, "too-small")


def _refusal(presence: float, seen: Quality, config: QualityConfig) -> str:
    """Reason of the first condition that fails, or ""."""
    conditions = (
        ("too-dark", seen.brightness >= config.min_brightness),
        ("too-bright", seen.glare <= config.max_glare),
        ("no-face", presence >= config.min_presence),
        ("too-small", seen.size_px >= config.min_size_px),
        ("turned-away", abs(seen.yaw_deg) <= config.max_yaw_deg),
        ("tilted", abs(seen.pitch_deg) <= config.max_pitch_deg),
        ("blurred", seen.sharpness >= config.min_sharpness),
    )
    return next((reason for reason, holds in conditions if not holds), "")


def _exposure(grey: BgrImage) -> tuple[float, float]:
    """Mean grey level of the face, forehead to chin, and its share of nearly white pixels."""
    height, width = grey.shape[:2]
    face = grey[height // 4 : height - height // 14, width * 3 // 14 : -width * 3 // 14]
    _, white = cv2.threshold(face, _WHITE, 1, cv2.THRESH_BINARY)
    mean, _ = cv2.meanStdDev(face)
    return float(mean[0, 0]), cv2.countNonZero(white) / face.size


def _sharpness(grey: BgrImage) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the inner face, grey levels squared."""
    height, width = grey.shape[:2]
    inner = grey[height // 8 : -height // 8, width // 8 : -width // 8]
    _, deviation = cv2.meanStdDev(cv2.Laplacian(inner, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)


def _eye_distance(points_px: FloatArray) -> float:
    """Distance of the first two points, the eyes."""
    return math.dist(points_px[0].tolist(), points_px[1].tolist())
