"""Renders simulated visitors: a portrait whose head turns and nods in depth, and photos held in a hand.

The mesh of the portrait gives each point of the face a depth. Rings of points around the face make hair, ears and neck
follow, while the background stays still. The head turns in front of a pinhole camera, and every triangle is drawn from
the portrait, nearest last. Parts that the portrait does not show, such as the far side of a nose, are stretched from
visible parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from edge.core.records import BgrImage, Landmarks

Reals = NDArray[np.float64]

# Part of a frame of 640x480 that contains the face of `fit_portrait` in every pose.
FACE_AREA = np.s_[90:410, 160:480]
_PLACES = np.mgrid[:480, :640].astype(np.float32)
_WALL = (90, 90, 90)  # colour behind a photo in a hand
FOCAL_PX = 554.0  # focal length of a camera with 60 degrees over 640 pixels
# The outline of the face in MediaPipe's mesh.
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_RINGS = ((1.25, 0.25, 0.8), (1.6, 0.45, 0.4), (2.3, 0.45, 0.0))  # reach, depth in face heights, share of the turn
_AXIS = 0.45  # distance of the axis of the neck behind the middle of the face, in face heights


@dataclass(frozen=True, slots=True)
class Pose:
    """Pose of a head relative to the portrait: turned to its own left, up, and moved in the picture."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    x_px: float = 0.0
    y_px: float = 0.0


class RenderedHead:
    """A portrait whose head can be turned."""

    def __init__(self, picture: BgrImage, landmarks: Landmarks) -> None:
        """`picture`: (H, W, 3) uint8 BGR with a frontal face; `landmarks`: mesh of that face."""
        self._picture = picture
        face = landmarks.points_px.astype(np.float64)
        oval = face[list(_OVAL)]
        self._middle = np.array([*oval[:, :2].mean(0), float(face[:, 2].mean())])
        height = float(np.ptp(face[:, 1]))
        rings, shares = [], [np.ones(len(face))]
        for reach, depth, share in _RINGS:
            ring = self._middle + (oval - self._middle) * np.array([reach, reach, 0])
            ring[:, 2] = self._middle[2] + depth * height
            rings.append(ring)
            shares.append(np.full(len(ring), share))
        rows, columns = picture.shape[:2]
        edges = np.array(
            [[x, y, 0] for x in (-2, columns / 2, columns + 1) for y in (-2, rows / 2, rows + 1)], np.float64
        )
        self._points = np.concatenate([face, *rings, np.delete(edges, 4, 0)])
        self._shares = np.concatenate([*shares, np.zeros(len(edges) - 1)])[:, None]
        self._triangles = Delaunay(self._points[:, :2]).simplices
        self._axis = self._middle + np.array([0, 0.3 * height, _AXIS * height])

    def render(self, pose: Pose) -> BgrImage:
        """The picture with the head in a pose; only the area around the face changes."""
        points = self._points
        turned = (points - self._axis) @ _turn(pose).T + self._axis + np.array([pose.x_px, pose.y_px, 0])
        away = np.maximum(FOCAL_PX + turned[:, 2:], 50.0) / (FOCAL_PX + points[:, 2:])
        centre = np.array([self._picture.shape[1] / 2, self._picture.shape[0] / 2])
        seen = centre + (turned[:, :2] - centre) / away
        drawn = points[:, :2] + self._shares * (seen - points[:, :2])
        return self._paint(drawn, turned[:, 2])

    def _paint(self, drawn: Reals, depth: Reals) -> BgrImage:
        """Draw every triangle from its place in the picture to its new place, farthest first."""
        moving = np.flatnonzero(np.abs(drawn - self._points[:, :2]).max(1) > 1e-3)
        painted = self._picture.copy()
        if not moving.size:
            return painted
        triangles = self._triangles[np.isin(self._triangles, moving).any(1)]
        triangles = triangles[np.argsort(-depth[triangles].mean(1))]
        corners, sources = drawn[triangles], self._points[triangles][:, :, :2]
        both = np.concatenate([corners, sources]).reshape(-1, 2)
        left, top = np.maximum(np.floor(both.min(0)).astype(int), (FACE_AREA[1].start, FACE_AREA[0].start)).tolist()
        right, bottom = np.minimum(
            np.ceil(both.max(0)).astype(int) + 1, (FACE_AREA[1].stop, FACE_AREA[0].stop)
        ).tolist()
        owner = np.full((bottom - top, right - left), -1, np.int32)
        for number, corner in enumerate(np.round((corners - np.array([left, top])) * 16).astype(np.int32)):
            cv2.fillConvexPoly(owner, corner, (number,), lineType=cv2.LINE_8, shift=4)
        there = np.concatenate([corners, np.ones((len(triangles), 3, 1))], 2)
        there[np.abs(np.linalg.det(there)) < 1e-3] = np.eye(3)  # seen from its edge: it covers no pixel
        back = np.linalg.solve(there, sources).astype(np.float32)
        unmoved = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
        back = np.ascontiguousarray(
            np.concatenate([back, [unmoved]]).reshape(-1, 6).T
        )  # -1, the last entry: no triangle
        y, x = _PLACES[:, top:bottom, left:right]
        source_x, source_y = (
            x * along[owner] + y * down[owner] + at[owner] for along, down, at in (back[::2], back[1::2])
        )
        painted[top:bottom, left:right] = cv2.remap(
            self._picture, source_x, source_y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
        )
        return painted


def _turn(pose: Pose) -> Reals:
    """Rotation of a head: x to the right of the picture, y down, z away."""
    yaw, pitch = math.radians(pose.yaw_deg), math.radians(pose.pitch_deg)
    sideways = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
    upwards = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    return np.asarray(upwards @ sideways, np.float64)


def fit_portrait(portrait: BgrImage, landmarks: Landmarks, eyes_px: float) -> BgrImage:
    """A portrait, (H, W, 3) uint8 BGR, in a frame of 640x480 with `eyes_px` between the eye centres.

    The face is near the middle, and the edges of the portrait are stretched to those of the frame.
    """
    scale = eyes_px / float(np.linalg.norm(landmarks.five_px[0] - landmarks.five_px[1]))
    if scale < 1:
        portrait = np.asarray(cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    centre = landmarks.points_px[:, :2].mean(0) * min(scale, 1.0)
    grown = max(scale, 1.0)
    matrix = np.array([[grown, 0, 320 - grown * centre[0]], [0, grown, 250 - grown * centre[1]]], np.float64)
    return np.asarray(cv2.warpAffine(portrait, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def tilt_picture(picture: BgrImage, pose: Pose) -> BgrImage:
    """The picture as a flat photo in a pose, in front of a grey wall; only the area around the face is drawn."""
    turn = _turn(pose)
    rows, columns = picture.shape[:2]
    camera = np.array([[FOCAL_PX, 0, columns / 2], [0, FOCAL_PX, rows / 2], [0, 0, 1]])
    place = np.column_stack([turn[:, 0], turn[:, 1], [pose.x_px, pose.y_px, FOCAL_PX]])
    to_middle = np.array([[1, 0, -columns / 2], [0, 1, -rows / 2], [0, 0, 1]])
    homography = camera @ place @ to_middle
    shift = np.array([[1, 0, -FACE_AREA[1].start], [0, 1, -FACE_AREA[0].start], [0, 0, 1]], np.float64)
    held = np.full_like(picture, _WALL)
    size = (FACE_AREA[1].stop - FACE_AREA[1].start, FACE_AREA[0].stop - FACE_AREA[0].start)
    held[FACE_AREA] = cv2.warpPerspective(picture, shift @ homography, size, borderValue=_WALL)
    return held


def bend_picture(picture: BgrImage, pose: Pose, *, radius_px: float, upright: bool) -> BgrImage:
    """The picture as a sheet bent around a cylinder, middle nearest, in a pose: it has depth like a face.

    Args:
        picture: (H, W, 3) uint8 BGR.
        pose: pose of the sheet.
        radius_px: radius of the cylinder, in pixels of the picture.
        upright: whether the axis is vertical; False: horizontal.
    """
    rows, columns = picture.shape[:2]
    y, x = _PLACES[:, *FACE_AREA]
    turn = _turn(pose)
    rays = np.stack([x - columns / 2, y - rows / 2, np.full_like(x, FOCAL_PX)], -1) @ (turn / FOCAL_PX).astype(x.dtype)
    start = (-np.array([pose.x_px, pose.y_px, FOCAL_PX]) @ turn).tolist()
    across, along = (0, 1) if upright else (1, 0)
    # First intersection of each ray with (across)^2 + (z - radius)^2 = radius^2.
    a = rays[..., across] ** 2 + rays[..., 2] ** 2
    b = start[across] * rays[..., across] + (start[2] - radius_px) * rays[..., 2]
    root = b * b - a * (start[across] ** 2 + (start[2] - radius_px) ** 2 - radius_px**2)
    reach = (-b - np.sqrt(np.maximum(root, 0))) / a
    unrolled = radius_px * np.arctan2(
        start[across] + reach * rays[..., across], radius_px - start[2] - reach * rays[..., 2]
    )
    unrolled[(root < 0) | (np.abs(unrolled) > radius_px * math.pi / 2)] = -1e4
    straight = start[along] + reach * rays[..., along] + (columns, rows)[along] / 2
    unrolled += (columns, rows)[across] / 2
    where = (unrolled, straight) if upright else (straight, unrolled)
    seen = np.full_like(picture, _WALL)
    seen[FACE_AREA] = cv2.remap(picture, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_WALL)
    return seen


def jpeg_compressed(picture: BgrImage, quality: int) -> BgrImage:
    """The picture after JPEG compression, quality 1 to 100."""
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def minimum_jerk(share: float) -> float:
    """Share of the way after a share of the time, both 0..1, for a minimum-jerk movement."""
    x = min(max(share, 0.0), 1.0)
    return x * x * x * (10 - 15 * x + 6 * x * x)


def add_spectacles(portrait: BgrImage, landmarks: Landmarks) -> BgrImage:
    """The portrait, (H, W, 3) uint8 BGR, with dark glasses frames and a reflection on each lens."""
    right, left = landmarks.five_px[:2].astype(np.float64)
    apart = float(np.linalg.norm(left - right))
    worn, shining = portrait.copy(), portrait.copy()
    thick = max(1, round(0.06 * apart))
    lens = (0.4 * apart, 0.3 * apart)
    for eye in (right, left):
        cv2.ellipse(worn, (eye.tolist(), (2 * lens[0], 2 * lens[1]), 0), (25, 22, 20), thick, cv2.LINE_AA)
        glint = (eye + np.array([0.12, -0.1]) * apart).tolist()
        cv2.ellipse(shining, (glint, (0.22 * apart, 0.1 * apart), -30), (250, 250, 250), -1, cv2.LINE_AA)
    towards = (left - right) / apart * lens[0]
    ends = [tuple(np.round(point).astype(int).tolist()) for point in (right + towards, left - towards)]
    cv2.line(worn, ends[0], ends[1], (25, 22, 20), thick, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(worn, 0.6, np.minimum(np.maximum(worn, shining), 255), 0.4, 0), np.uint8)
