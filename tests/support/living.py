"""Synthetic living faces, hand-held pictures of faces, and turning heads, for tests of liveness."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np

from edge.core.records import BgrImage, FloatArray, Landmarks

# Eyes, nose tip and corners of the mouth in the frames of `face`.
FIVE = np.array([[120, 120], [180, 120], [150, 155], [125, 190], [175, 190]], np.float32)
_FRAMES = 12  # frames per kind, repeated
_RNG = np.random.default_rng(1)
# A head as a bowl with a nose; the mesh points that determine the pose are at their usual places.
_FLAT = _RNG.uniform(-1, 1, (468, 2)) * (60, 80)
NOSE = 40 * np.exp(-(_FLAT**2).sum(1) / 400)
HEAD = np.column_stack([_FLAT, 0.006 * (_FLAT**2).sum(1) - NOSE]).astype(np.float32)
HEAD[[33, 263, 10, 152]] = [[-45, -20, 10], [45, -20, 10], [0, -80, 10], [0, 80, 10]]


def face(mouth_px: float = 0.0, seed: int = 0, who: int = 1) -> BgrImage:
    """Return a textured face of 320 x 320 pixels whose lower half is pulled down, most at the mouth."""
    rng = np.random.default_rng(who)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (320, 320)).astype(np.float32), (0, 0), 14)
    grey = (grey - grey.mean()) * 16 + 128
    y, x = np.mgrid[0:320, 0:320].astype(np.float32)
    pull = mouth_px * np.exp(-(((x - 150) / 30) ** 2) - ((y - 195) / 20) ** 2)
    moved = cv2.remap(grey, x, (y - pull).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    moved = moved + np.random.default_rng(seed).normal(0, 2, moved.shape)
    return np.repeat(np.clip(moved, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def held(pixels: BgrImage, number: int) -> BgrImage:
    """Return the picture as held by a hand that turns and tilts it."""
    tilt = 5e-5 * np.sin(number)
    turn = np.array(
        [[1, 0.01 * np.sin(number / 2), 2 * np.sin(number)], [0.01 * np.cos(number), 1, 1], [tilt, tilt, 1]]
    )
    return np.asarray(cv2.warpPerspective(pixels, turn, (320, 320), borderMode=cv2.BORDER_REFLECT), np.uint8)


@cache
def _shown(number: int, who: int, *, alive: bool) -> BgrImage:
    if alive:
        return face(8 * (number % 3), seed=number, who=who)
    return held(face(seed=number, who=who), number)


def shown(number: int, who: int = 1, *, alive: bool) -> BgrImage:
    """Return one frame of a speaking person or of a hand-held photo."""
    return _shown(number % _FRAMES, who, alive=alive)


def turned(left_deg: float = 0.0, up_deg: float = 0.0, size: float = 1.0) -> FloatArray:
    """Return the points of a turned head: x right, y down, z away, as in the mesh."""
    yaw, pitch = math.radians(left_deg), math.radians(up_deg)
    sideways = [[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]]
    upwards = [[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]]
    return np.asarray(size * HEAD @ (np.array(upwards) @ np.array(sideways)).T, np.float32)


def there_and_back(degrees: float, steps: int = 6) -> list[float]:
    """Return the angle of a head at each sample, ten a second: rest, out, held, back, rest."""
    out = [degrees * (number + 1) / steps for number in range(steps)]
    return [0.0] * 4 + out + [degrees] * 3 + out[::-1] + [0.0] * 3


def meshed(points: FloatArray) -> Landmarks:
    """Return the landmarks of a head in the frames of `face`."""
    return Landmarks(points + np.array([150, 155, 0], np.float32), FIVE, 1.0)
