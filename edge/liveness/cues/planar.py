"""Cue: whether a face is flat. Two views of a flat picture differ only by a homography, light and focus.

A view is registered to a reference view by inverse compositional registration (Baker and Matthews 2004), coarse to
fine. From the residual, all effects of a flat picture are removed: the eight directions of a homography, light that
changes over the face, contrast, and blur. A living face leaves a larger residual: it speaks, blinks and turns in depth.
This residual is local, at the mouth and the eyes, whereas noise and registration errors are spread over the whole face.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray, Frame, Landmarks
from edge.vision.aligner import similarity

Reals = NDArray[np.float64]

SIDE_PX = 64  # side of the patch
# Positions of the five points in the patch; the eyes are 20 apart.
_TEMPLATE = ((21.75, 21.75), (41.75, 21.75), (31.75, 32.75), (23.75, 43.75), (39.75, 43.75))
_FACE = (31.5, 35.0, 20.0, 25.0)  # measured ellipse: centre x, y and half axes, patch pixels
_SHARPER = 1.25  # largest number of source pixels per patch pixel and axis; a larger picture is reduced first
_LEVELS = (
    (2.5, 8, 3e-3),
    (1.0, 12, 1e-3),
)  # blur in pixels, most steps, smallest step (of 32 pixels)
_FAR = 40.0  # largest distance of a homography from the identity
_MOVES = 8
_WHITE = 246  # grey level; a pixel this bright may be clipped
_GROW_PX = 7  # size of the area around it that blur affects
_MIN_VALID_PIXELS = 0.02  # share of clipped pixels in a pixel from which it is ignored
_MIN_OVERLAP = 0.4  # smallest valid share of the face
_PLACE_PX = 5  # side of the square over which the residual is averaged
_BORDER_PX = 0.8  # inner share of the ellipse, without hair and background
_PEAK = 0.98  # quantile over the face that counts as its largest motion
_NOISE = 2.0  # peak of uniform noise relative to the median; averaged over 5 x 5 pixels it is 1.8

_Y, _X = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32)
_ELLIPSE = (((_X - _FACE[0]) / _FACE[2]) ** 2 + ((_Y - _FACE[1]) / _FACE[3]) ** 2).ravel()
_FACE_MASK = np.flatnonzero(_ELLIPSE < 1)
_CENTRE_MASK = (_ELLIPSE < _BORDER_PX)[_FACE_MASK]
_HALF = SIDE_PX / 2
_STILL: Reals = np.eye(3)
_MIDDLE = (SIDE_PX - 1) / 2
_U, _V = (((axis - _MIDDLE) / _HALF).ravel()[_FACE_MASK] for axis in (_X, _Y))
_TO_UNIT = np.array([[1 / _HALF, 0, -_MIDDLE / _HALF], [0, 1 / _HALF, -_MIDDLE / _HALF], [0, 0, 1]])
_FROM_UNIT = np.linalg.inv(_TO_UNIT)


@dataclass(frozen=True, slots=True, eq=False)
class FacePatch:
    """A face at a fixed size."""

    grey: FloatArray  # (64, 64) float32, grey levels
    # (64, 64) bool: valid pixels, which are neither clipped nor outside the frame, nor next to such pixels
    clear: NDArray[np.bool_]
    to_patch: Reals  # (2, 3) float64, from frame pixels to those of `grey`


def extract_patch(frame: Frame, landmarks: Landmarks) -> FacePatch | None:
    """Cut the face out of a frame; None if it is outside."""
    to_patch = similarity(landmarks.five_px.tolist(), _TEMPLATE)
    corners = np.array([[0, SIDE_PX, 0, SIDE_PX], [0, 0, SIDE_PX, SIDE_PX], [1, 1, 1, 1]], np.float64)
    reach = cv2.invertAffineTransform(to_patch) @ corners
    height, width = frame.pixels.shape[:2]
    left, top = np.maximum(np.floor(reach.min(1)).astype(int) - 2, 0).tolist()
    right, bottom = np.minimum(np.ceil(reach.max(1)).astype(int) + 3, (width, height)).tolist()
    if right - left < 2 or bottom - top < 2:
        return None
    cut = cv2.cvtColor(frame.pixels[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    source_px = 1 / float(np.hypot(to_patch[0, 0], to_patch[1, 0]))
    across = down = 1.0
    if source_px > _SHARPER:
        size = [max(round(length * _SHARPER / source_px), 1) for length in (right - left, bottom - top)]
        across, down = size[0] / (right - left), size[1] / (bottom - top)
        cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    # Between centres of pixels: frame + 0.5 = (cut + 0.5) / share + corner.
    back = np.array([[1 / across, 0, 0.5 / across - 0.5 + left], [0, 1 / down, 0.5 / down - 0.5 + top], [0, 0, 1]])
    matrix = to_patch @ back
    size_px = (SIDE_PX, SIDE_PX)
    grey = cv2.warpAffine(cut, matrix, size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.warpAffine((cut < _WHITE).astype(np.uint8), matrix, size_px, flags=cv2.INTER_NEAREST)
    clear = cv2.erode(known, np.ones((_GROW_PX, _GROW_PX), np.uint8)) > 0
    return FacePatch(grey.astype(np.float32), np.asarray(clear, np.bool_), to_patch)


def brightness(look: FacePatch) -> float:
    """Mean grey level of the face."""
    return float(look.grey.ravel()[_FACE_MASK].mean())


@dataclass(frozen=True, slots=True, eq=False)
class PlanarResidual:
    """Difference of a view from all flat pictures."""

    left: FloatArray  # (N,) float32, grey levels over the face, NaN at invalid pixels
    unexplained: float  # energy of `left` as a share of the contrast of the view
    moved: Reals  # (3, 3) float64, homography of the face since the reference, frame pixels


class PlanarReference:
    """Reference view to which other views are registered."""

    def __init__(self, look: FacePatch) -> None:
        self._good = look.clear.ravel()[_FACE_MASK]
        self._to_patch = _square(look.to_patch)
        self._levels: list[tuple[float, int, float, FloatArray, FloatArray, FloatArray]] = []
        for blur_px, steps, small in _LEVELS:
            blurred = np.asarray(cv2.GaussianBlur(look.grey, (0, 0), blur_px), np.float32)
            seen = blurred.ravel()[_FACE_MASK]
            gx, gy = (
                (cv2.Sobel(blurred, cv2.CV_32F, *order) / 8).ravel()[_FACE_MASK] for order in ((1, 0), (0, 1))
            )  # 8: the sum of the kernel's positive weights, times two pixels
            along = gx * _U + gy * _V
            moves = [gx * _U, gx * _V, gx, gy * _U, gy * _V, gy, -along * _U, -along * _V]
            light = [np.ones_like(_U), _U, _V, seen]
            columns = np.stack([*(move * _HALF for move in moves), *light], axis=1)
            self._levels.append((blur_px, steps, small, seen, columns, _solver(columns, self._good)))
        blur = cv2.Laplacian(blurred, cv2.CV_32F).ravel()[_FACE_MASK]
        columns = np.column_stack([columns, blur, _U * _U, _U * _V, _V * _V, seen * _U, seen * _V])
        self._flat = np.linalg.qr(columns / (np.linalg.norm(columns, axis=0) + 1e-6))[0].astype(np.float32)
        # Root mean square of the grey gradient, levels per patch pixel
        self.gradient = float(np.sqrt(np.mean(gx * gx + gy * gy)))

    def residual(self, look: FacePatch) -> PlanarResidual | None:
        """Register a view and return its residual; None if registration fails or too few pixels are valid."""
        homography = _STILL
        burnt = (~look.clear).astype(np.float32)
        good = self._good & look.clear.ravel()[_FACE_MASK]
        if good.mean() < _MIN_OVERLAP:
            return None
        for blur_px, steps, small, seen, columns, whole in self._levels:
            solve = whole if good.sum() == self._good.sum() else _solver(columns, good)
            blurred = np.asarray(cv2.GaussianBlur(look.grey, (0, 0), blur_px), np.float32)
            for _ in range(steps):
                differs = np.where(good, _warped(blurred, homography) - seen, np.float32(0))
                step = (solve @ differs).astype(np.float64)
                moved = _STILL.copy()
                moved.flat[:_MOVES] += step
                known, back = cv2.invert(moved)
                if not known:
                    return None
                homography = homography @ (_FROM_UNIT @ back @ _TO_UNIT)
                homography /= homography[2, 2]
                if not np.abs(homography - _STILL).max() <= _FAR:  # also false for NaN
                    return None
                if np.abs(step).max() < small:
                    break
        warped = _warped(blurred, homography)
        left = warped - seen
        moved = np.linalg.inv(_square(look.to_patch)) @ homography @ self._to_patch
        good = self._good & (_warped(burnt, homography) < _MIN_VALID_PIXELS)
        if good.all():
            left -= self._flat @ (self._flat.T @ left)
            return PlanarResidual(left, float(np.mean(left * left) / max(float(warped.var()), 1e-6)), moved)
        if good.mean() < _MIN_OVERLAP:
            return None
        share = np.linalg.lstsq(self._flat[good], left[good], rcond=1e-3)[0]
        left[good] -= self._flat[good] @ share
        unexplained = float(np.mean(left[good] ** 2) / max(float(warped[good].var()), 1e-6))
        return PlanarResidual(np.where(good, left, np.float32(np.nan)), unexplained, moved)


def _square(affine: Reals) -> Reals:
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def _solver(columns: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    """(8, N): matrix that gives the motion which best explains differences at valid pixels, together with light.

    `columns`, (N, 12), are the effects of the eight motions and four light changes, in grey levels.
    """
    kept = np.where(good[:, None], columns, np.float32(0))
    lengths = np.linalg.norm(kept, axis=0) + 1e-6
    unit = kept / lengths
    within = np.linalg.pinv((unit.T @ unit).astype(np.float64), rcond=1e-6, hermitian=True)
    return np.asarray((within @ unit.T)[:_MOVES] / lengths[:_MOVES, None], np.float32)


def local_motion(residuals: Sequence[PlanarResidual], gradient: float) -> float:
    """Largest motion of a part of a face relative to the rest, in patch pixels (the eyes are 20 apart).

    The view that differs most is excluded, because its registration may have failed. The residuals of the others are
    averaged over views and over squares of 5 x 5 pixels. The peak minus the noise, which is estimated by the median, is
    an energy; its root divided by the gradient is about the motion. 0 if too little of the face could be compared.

    Args:
        residuals: residuals of at least two views; that of the reference is 0 and not included.
        gradient: gradient of the reference.
    """
    looks = np.stack([np.zeros_like(residuals[0].left), *(each.left for each in residuals)])
    good = np.asarray(np.isfinite(looks).all(axis=0), np.bool_)
    if good.mean() < _MIN_OVERLAP:
        return 0.0
    looks[:, ~good] = 0
    apart = looks - looks.mean(axis=0)
    kept = np.delete(looks, np.argmax(np.einsum("ij,ij->i", apart, apart)), axis=0)
    kept -= kept.mean(axis=0)
    energy = np.asarray(np.einsum("ij,ij->j", kept, kept), np.float32)
    energy /= np.float32(len(kept))
    places = _averaged(energy) / np.maximum(_averaged(good.astype(np.float32)), np.float32(0.3))
    peak, middle = np.quantile(places[good & _CENTRE_MASK], (_PEAK, 0.5))
    return math.sqrt(max(float(peak - _NOISE * middle), 0.0)) / max(gradient, 1e-3)


def _averaged(over_face: FloatArray) -> FloatArray:
    """(N,) values over the face, averaged over squares; pixels outside the face count as 0."""
    whole = np.zeros(SIDE_PX * SIDE_PX, np.float32)
    whole[_FACE_MASK] = over_face
    return np.asarray(cv2.blur(whole.reshape(SIDE_PX, SIDE_PX), (_PLACE_PX, _PLACE_PX)), np.float32).ravel()[_FACE_MASK]


def _warped(look: FloatArray, homography: Reals) -> FloatArray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (SIDE_PX, SIDE_PX)
    warped = cv2.warpPerspective(look, homography, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32).ravel()[_FACE_MASK]
