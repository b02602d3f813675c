"""Degrades photos as cameras and visitors do at a door: each kind at a random strength, with a seed.

Blur, distance and light act on the whole picture, at a strength relative to the distance of the eyes, so that small and
large faces are degraded equally. Masks and other covers are drawn along the landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.records import BgrImage, Landmarks

_FACE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
_OVAL = (*_FACE, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_MASKED = (6, 351, 350, 329, 330, 352, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
_MASK = (*_MASKED, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 123, 101, 100, 121, 122)  # nose bridge to chin
_RIGHT, _LEFT = 234, 454  # sides of the face, from the view of the person


def degrade(kind: str, pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    """A copy of (H, W, 3) uint8 BGR pixels, degraded by `kind`, one of `KINDS`."""
    return np.ascontiguousarray(_KINDS[kind](pixels, landmarks, rng), np.uint8)


def _motion(pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    length = rng.uniform(0.1, 0.6) * _eyes_px(landmarks)
    side = 2 * int(np.ceil(length / 2)) + 3
    kernel = np.zeros((side, side), np.uint8)
    reach = _direction(rng.uniform(0, np.pi)) * length / 2
    middle = (side - 1) / 2
    start, end = (tuple(np.rint((middle + way * reach) * 16).astype(int).tolist()) for way in (-1, 1))
    cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.filter2D(pixels, -1, kernel.astype(np.float32) / float(kernel.sum())), np.uint8)


def _small(pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    scale = min(rng.uniform(10, 36) / _eyes_px(landmarks), 1.0)
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _side_light(pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    right, left = landmarks.points_px[_RIGHT, :2], landmarks.points_px[_LEFT, :2]
    bright, dim = (right, left) if rng.random() < 0.5 else (left, right)
    across = (dim - bright) / max(float((dim - bright) @ (dim - bright)), 1e-9)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    way = (columns - bright[0]) * across[0] + (rows - bright[1]) * across[1]
    fall = 1 / (1 + np.exp(-(way - 0.5) * 8))
    gain = 1.3 - (1.3 - rng.uniform(0.03, 0.3)) * fall
    return _levels(pixels * gain[:, :, None].astype(np.float32))


def _hand(pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    oval = landmarks.points_px[list(_OVAL), :2]
    middle = oval.mean(axis=0)
    towards = _direction(rng.uniform(0, 2 * np.pi))
    reach = (oval - middle) @ towards
    edge = reach.min() + (1 - rng.uniform(0.3, 0.6)) * (reach.max() - reach.min())
    across = np.array([-towards[1], towards[0]]) * 1.2 * (reach.max() - reach.min()) / 2
    near, far = middle + towards * edge, middle + towards * (reach.max() * 1.3)
    corners = np.array([near - across, near + across, far + across, far - across])
    return _painted(pixels, corners, rng, ((120, 150, 200), (70, 95, 140), (25, 25, 25), (150, 150, 150)))


def _sunglasses(pixels: BgrImage, landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    right, left = landmarks.five_px[:2]
    along = left - right
    down = np.array([-along[1], along[0]], np.float32)
    over, under, wide = rng.uniform(0.2, 0.35), rng.uniform(0.2, 0.35), rng.uniform(0.35, 0.5)
    ends = right - wide * along, left + wide * along
    corners = np.array([ends[0] - over * down, ends[1] - over * down, ends[1] + under * down, ends[0] + under * down])
    return _painted(pixels, corners, rng, ((20, 20, 20), (35, 25, 25), (20, 35, 60)))


def _jpeg(pixels: BgrImage, _landmarks: Landmarks, rng: np.random.Generator) -> BgrImage:
    stored = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(4, 26))])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)


def _eyes_px(landmarks: Landmarks) -> float:
    return math.dist(*landmarks.five_px[:2].tolist())


def _direction(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def _levels(values: NDArray[np.floating]) -> BgrImage:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _painted(
    pixels: BgrImage, corners: NDArray[np.floating], rng: np.random.Generator, colours: tuple[tuple[int, ...], ...]
) -> BgrImage:
    """Draw a polygon with soft edges in one of the colours, slightly uneven like cloth and skin."""
    colour = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.15)
    drawn = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(drawn, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    area = drawn.astype(np.float32)[:, :, None] / 255
    shade = np.linspace(0.85, 1.15, pixels.shape[0], dtype=np.float32)[:, None, None]
    return _levels(pixels * (1 - area) + colour.astype(np.float32) * shade * area)


Degradation = Callable[[BgrImage, Landmarks, np.random.Generator], cv2.typing.MatLike]
_KINDS: dict[str, Degradation] = {
    # Out of focus: standard deviation of 2 to 12 % of the distance of the eyes.
    "blur": lambda pixels, at, rng: cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.02, 0.12) * _eyes_px(at)),
    # Motion blur along a line of 10 to 60 % of the distance of the eyes, in any direction.
    "motion": _motion,
    # Far away: reduced until the eyes are 10 to 36 px apart.
    "small": _small,
    # Too dark: 5 to 40 % of the light, and sensor noise.
    "dark": lambda pixels, _, rng: _levels(
        pixels.astype(np.float32) * rng.uniform(0.05, 0.4)
        + rng.normal(0, rng.uniform(1.5, 6), pixels.shape).astype(np.float32)
    ),
    # Too bright: 1.5 to 5 times the light, clipped.
    "bright": lambda pixels, _, rng: _levels(pixels.astype(np.float32) * rng.uniform(1.5, 5.0)),
    # Light from one side: 3 to 30 % of it at the other side.
    "side-light": _side_light,
    # A light, blue or black mask over nose, mouth and chin.
    "mask": lambda pixels, at, rng: _painted(
        pixels, at.points_px[list(_MASK), :2], rng, ((220, 220, 220), (170, 120, 60), (30, 30, 30))
    ),
    # A hand, phone or shoulder over 30 to 60 % of the face, from any side.
    "hand": _hand,
    # A dark bar over both eyes.
    "sunglasses": _sunglasses,
    # Strong compression: JPEG quality 4 to 25.
    "jpeg": _jpeg,
}
KINDS = tuple(_KINDS)
