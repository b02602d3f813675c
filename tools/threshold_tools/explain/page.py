"""The explanation as one HTML file: boxes, landmarks, the aligned face and the parts that matter in it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.core.records import BgrImage
from threshold_tools.enroll.photo_quality import crop as cut
from threshold_tools.explain.photo import ExplainedPhoto
from threshold_tools.explain.report import (
    SCALE,
    Explanation,
    OcclusionMap,
    PhotoReport,
    document,
    region_lines,
    strangers,
)
from threshold_tools.reports.page import picture_uri, render

_USED, _OTHER, _MESH = (60, 200, 80), (190, 190, 190), (230, 200, 90)  # BGR
_POINTS = ((60, 60, 230), (60, 60, 230), (40, 170, 250), (200, 80, 220), (200, 80, 220))
_TOGETHER, _APART = np.array((200, 110, 20), np.float32), np.array((20, 90, 240), np.float32)  # BGR: blue, orange
_WHOLE_PX = 420  # longer side of the whole photo on the page
_CLOSE_PX = 336  # longer side of the close-up
_ALIGNED_SCALE = 3
_MARGIN = 0.35
_FLOOR = 0.02  # smaller changes of the distance are noise and stay pale


def page(found: Explanation, a: ExplainedPhoto, b: ExplainedPhoto | None) -> str:
    """The page."""
    photos = [_photo("A", "the visitor", found.a, a)]
    if b is not None and found.b is not None:
        aside = f" and {Path(found.gallery).name} is not used" if found.gallery else ""
        photos.append(_photo("B", f"compared as if this person were enrolled{aside}", found.b, b))
    told = document(found)
    return render(
        "explain.html",
        title=told.title,
        kind="explanation",
        document=told,
        found=found,
        gallery=Path(found.gallery).name,
        photos=photos,
        scale=SCALE,
        strangers=strangers(found),
        charts=[],
    )


def _photo(
    letter: str, role: str, shown: PhotoReport, photo: ExplainedPhoto
) -> tuple[str, str, PhotoReport, list[tuple[str, str]], list[str]]:
    """Parts of the page about a photo: letter, role, report, pictures with captions, and lines about regions."""
    faces = "one face" if shown.faces == 1 else f"{shown.faces} faces, the green one is used"
    pictures = [
        (_full_photo(photo), f"{shown.width_px}x{shown.height_px} px, {faces}"),
        (_face_crop(photo), "landmarks, and the five points for alignment"),
        (_aligned(photo), "aligned face, the input of the embedder"),
    ]
    if shown.occlusion is not None:
        pictures.append((_heatmap(photo, shown.occlusion), "blue: similar in both, orange: different"))
    return letter, role, shown, [(picture_uri(picture), caption) for picture, caption in pictures], region_lines(shown)


def _full_photo(photo: ExplainedPhoto) -> BgrImage:
    """The photo with a box around every face; the box of the used face is green."""
    picture, scale = _scaled(photo.pixels, _WHOLE_PX)
    for face in photo.faces:
        used = face is photo.face
        corners = np.array([face.box.left, face.box.top, face.box.right, face.box.bottom]) * scale
        left, top, right, bottom = (round(float(value)) for value in corners)
        cv2.rectangle(picture, (left, top), (right, bottom), _USED if used else _OTHER, 2 if used else 1, cv2.LINE_AA)
    return picture


def _face_crop(photo: ExplainedPhoto) -> BgrImage:
    """The face with its mesh and the five points that align it."""
    box = photo.face.box
    part = cut(photo.pixels, box, _MARGIN)
    wide = _MARGIN * max(box.width, box.height)
    origin = np.array([max(round(box.left - wide), 0), max(round(box.top - wide), 0)], np.float32)
    picture, scale = _scaled(part, _CLOSE_PX)
    for x, y in (photo.landmarks.points_px[:, :2] - origin) * np.float32(scale):
        cv2.circle(picture, (round(float(x)), round(float(y))), 1, _MESH, -1, cv2.LINE_AA)
    for (x, y), colour in zip((photo.landmarks.five_px - origin) * np.float32(scale), _POINTS, strict=True):
        cv2.circle(picture, (round(float(x)), round(float(y))), 4, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, (round(float(x)), round(float(y))), 5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _aligned(photo: ExplainedPhoto) -> BgrImage:
    """The input of the embedder, enlarged."""
    return _enlarged(photo.crop, cv2.INTER_CUBIC)


def _heatmap(photo: ExplainedPhoto, occlusion: OcclusionMap) -> BgrImage:
    """The aligned face: blue where covering it raises the distance, orange where covering it lowers the distance."""
    size = photo.crop.shape[1], photo.crop.shape[0]
    grid = cv2.resize(np.array(occlusion.grid, np.float32), size, interpolation=cv2.INTER_CUBIC)
    share = np.clip(grid / max(float(np.abs(grid).max()), _FLOOR), -1, 1)[..., None]
    grey = cv2.cvtColor(cv2.cvtColor(photo.crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
    alpha = 0.75 * np.abs(share)
    mixed = grey * (1 - alpha) + np.where(share > 0, _TOGETHER, _APART) * alpha
    return _enlarged(np.clip(mixed, 0, 255).astype(np.uint8), cv2.INTER_LINEAR)


def _scaled(pixels: BgrImage, side_px: int) -> tuple[BgrImage, float]:
    """A copy whose longer side is `side_px`, and the scale."""
    scale = side_px / max(pixels.shape[:2])
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8), scale


def _enlarged(crop: BgrImage, how: int) -> BgrImage:
    return np.asarray(cv2.resize(crop, None, fx=_ALIGNED_SCALE, fy=_ALIGNED_SCALE, interpolation=how), np.uint8)
