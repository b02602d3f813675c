"""Draws visitors who walk up to a door: people cut out of portraits and pasted into a drawn scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from demo_media.sources import Picture, WalkIn
from edge.core.records import BgrImage, FloatArray

SIZE_PX = (640, 480)
SEED = 7
ARRIVES, LEAVES = 0.52, 0.82  # start and end of the stay at the door, as shares of a visit
WORKING_FACE_PX = 176  # portraits are scaled to this face height before they are cut out


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A person without background.

    Attributes:
        paint: (H, W, 4) float32, BGR times alpha 0..255, and alpha 0..1.
        face_px: (x, y) of the face's centre, pixels of `paint`.
        height_px: height of the face.
    """

    paint: FloatArray
    face_px: tuple[float, float]
    height_px: float


def cut_out(pixels: BgrImage, picture: Picture, outline: tuple[tuple[int, int], ...]) -> Cutout:
    """Cut a person out along a rough outline, refined by GrabCut (Rother et al. 2004) in a band around it."""
    left, top, right, bottom = picture.face_px
    scale = WORKING_FACE_PX / (bottom - top)
    pixels = np.asarray(
        cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        np.uint8,
    )
    rough = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(rough, [np.round(np.array(outline) * scale).astype(np.int32)], 255)
    band = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
    mask = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    mask[cv2.dilate(rough, band) > 0] = cv2.GC_PR_BGD
    mask[rough > 0] = cv2.GC_PR_FGD
    mask[cv2.erode(rough, band, borderType=cv2.BORDER_REPLICATE) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(SEED)
    cv2.grabCut(pixels, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = np.where((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    smooth = cv2.morphologyEx(cv2.morphologyEx(found, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    inner = cv2.erode(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)), borderType=cv2.BORDER_REPLICATE)
    alpha = cv2.GaussianBlur(inner, (0, 0), 1.6).astype(np.float32) / 255
    paint = np.dstack([pixels.astype(np.float32) * alpha[..., None], alpha])
    centre = ((left + right) / 2 * scale, (top + bottom) / 2 * scale)
    return Cutout(np.asarray(paint, np.float32), centre, WORKING_FACE_PX)


def draw_scene() -> FloatArray:
    """Return the scene without visitors: (H, W, 3) float32 BGR, 0..255."""
    width, height = SIZE_PX
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    wall = np.array([168, 178, 184], np.float32) * (1.06 - 0.22 * (x - 0.35) ** 2 - 0.28 * y)
    scene = np.array(np.broadcast_to(wall, (height, width, 3)))
    floor_y = round(height * 0.80)
    depth = np.linspace(0, 1, height - floor_y, dtype=np.float32)[:, None, None]
    scene[floor_y:] = np.array([96, 108, 118], np.float32) * (0.78 + 0.25 * depth)
    cv2.rectangle(scene, (0, floor_y - 12), (width, floor_y), (205.0, 212.0, 214.0), -1)
    for left, right, top in ((452, 604, 60), (30, 118, 96)):
        cv2.rectangle(scene, (left - 12, top - 12), (right + 12, floor_y), (205.0, 212.0, 214.0), -1)
        cv2.rectangle(scene, (left, top), (right, floor_y), (92.0, 112.0, 134.0), -1)
        for upper, lower in ((0.07, 0.45), (0.53, 0.94)):
            tall = floor_y - top
            corners = (left + 16, top + round(upper * tall)), (right - 16, top + round(lower * tall))
            cv2.rectangle(scene, *corners, (80.0, 98.0, 118.0), -1)
            cv2.rectangle(scene, *corners, (108.0, 128.0, 150.0), 2)
    cv2.circle(scene, (464, 250), 6, (170.0, 190.0, 200.0), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.2), np.float32)


def paste(scene: FloatArray, cutout: Cutout, visit: WalkIn, t_s: float) -> FloatArray:
    """Return the scene with the visitor at time `t_s`: walking up, standing, or leaving to the right."""
    share = (t_s - visit.from_s) / (visit.until_s - visit.from_s)
    if not 0 <= share <= 1:
        return scene
    width, _ = SIZE_PX
    coming, going = _smoothstep(share / ARRIVES), _smoothstep((share - LEAVES) / (1 - LEAVES))
    face_px = visit.far_px + (visit.near_px - visit.far_px) * coming - 0.25 * visit.near_px * going
    walking = (1 - coming) + going
    step = np.sin(2 * np.pi * 1.8 * t_s)
    centre_x = width * (-0.14 + 0.62 * _smoothstep(share / (0.6 * ARRIVES)) + 0.95 * going) + 4 * np.sin(
        2 * np.pi * 0.7 * t_s
    )
    centre_y = 232 + 4 * walking * step - 10 * coming
    turn_deg = 2.0 * np.sin(2 * np.pi * 0.45 * t_s) + 1.2 * walking * step
    scale = face_px / cutout.height_px
    small = cutout.paint
    if scale < 1:
        small = np.asarray(cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    x, y = cutout.face_px[0] * scale, cutout.face_px[1] * scale
    warp = cv2.getRotationMatrix2D((x, y), turn_deg, 1.0)
    warp[:, 2] += (centre_x - x, centre_y - y)
    layer = cv2.warpAffine(small, warp, SIZE_PX, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    blur_px = 1.4 * max(1 - 2.2 * share / ARRIVES, 0) + 1.2 * going
    if blur_px > 0.2:
        layer = cv2.GaussianBlur(layer, (0, 0), blur_px)
    light = 0.72 + 0.28 * coming - 0.15 * going
    return np.asarray(scene * (1 - layer[..., 3:]) + layer[..., :3] * light, np.float32)


def _smoothstep(share: float) -> float:
    """Smoothstep from 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
