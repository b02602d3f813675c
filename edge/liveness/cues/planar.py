"""Is it one flat thing? Two looks at a flat picture differ by a homography, by light and by focus, and by nothing else.

A look is brought onto a reference look by inverse compositional registration (Baker and Matthews 2004), coarse to
fine; what is left is cleared of all that a flat picture could still do: the eight directions of a homography, light
that changes over the face, contrast, and blur. A living face leaves more: it speaks, blinks and turns in depth. It does
so in places, at the mouth and the eyes, whereas noise and what registration misses are spread over all of the face.
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

SIDE_PX = 64  # of the patch
# The five points: 20 between the eyes.
_TEMPLATE = ((21.75, 21.75), (41.75, 21.75), (31.75, 32.75), (23.75, 43.75), (39.75, 43.75))
_FACE = (31.5, 35.0, 20.0, 25.0)  # the ellipse looked at: centre x, y and half axes, patch pixels
_SHARPER = 1.25  # patch pixels are drawn from at most so many source pixels a side: coarser ones are averaged first
_LEVELS = ((2.5, 8, 3e-3), (1.0, 12, 1e-3))  # blur in patch pixels, most steps, a step so small ends it (of 32 pixels)
_FAR = 40.0  # a homography farther from the identity has lost the face
_MOVES = 8
_WHITE = 246  # grey level; a pixel this bright may be clipped
_GROW_PX = 7  # around it, what blur has touched
_MIN_VALID_PIXELS = 0.02  # share of white in a pixel from which on it is left out
_MIN_OVERLAP = 0.4  # share of the face that must be left
_PLACE_PX = 5  # side of the place over which what is left is averaged
_BORDER_PX = 0.8  # of the ellipse's area: beyond, hair and what stands behind come in
_PEAK = 0.98  # quantile over the face that counts as its liveliest place
_NOISE = 2.0  # times the median place: what even noise leaves there; averaged over 5 x 5 pixels it is 1.8

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
    # (64, 64) bool: neither white nor beyond the frame, nor next to that; only this tells how the face moved
    clear: NDArray[np.bool_]
    to_patch: Reals  # (2, 3) float64, from frame pixels to those of `grey`


def extract_patch(frame: Frame, landmarks: Landmarks) -> FacePatch | None:
    """The face of a frame; None where it is outside."""
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
    """What no flat picture explains of a look."""

    left: FloatArray  # (N,) float32, grey levels over the face, NaN where a look is not clear
    unexplained: float  # its energy, as a share of the look's contrast
    moved: Reals  # (3, 3) float64, the homography by which the face has moved since the reference, frame pixels


class PlanarReference:
    """One look, ready to have others registered to it."""

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
        # Root mean square of its grey gradient, levels per patch pixel
        self.gradient = float(np.sqrt(np.mean(gx * gx + gy * gy)))

    def residual(self, look: FacePatch) -> PlanarResidual | None:
        """What is left of a look; None where registration fails or too little is clear."""
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
                if not np.abs(homography - _STILL).max() <= _FAR:  # nor where it is no number
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
    """(8, N): the move that explains differences best along with light, from good places alone.

    `columns`, (N, 12), are what each of the eight moves and each light does, in grey levels.
    """
    kept = np.where(good[:, None], columns, np.float32(0))
    lengths = np.linalg.norm(kept, axis=0) + 1e-6
    unit = kept / lengths
    within = np.linalg.pinv((unit.T @ unit).astype(np.float64), rcond=1e-6, hermitian=True)
    return np.asarray((within @ unit.T)[:_MOVES] / lengths[:_MOVES, None], np.float32)


def local_motion(residuals: Sequence[PlanarResidual], gradient: float) -> float:
    """How far the liveliest place of a face moves against the rest of it, in patch pixels (20 between the eyes).

    The look that differs most is left out: registration may have failed there. What the others leave is averaged over
    the looks and over places of 5 x 5 pixels; of the liveliest place counts what it has beyond the noise that the
    median place shows. Its root, divided by the gradient, is about the motion it amounts to; 0 where too little of the
    face could be compared.

    Args:
        residuals: of each look but the reference, whose own is 0; two at least.
        gradient: of the reference.
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
    """(N,) over the face, averaged over places; beyond the face counts as 0."""
    whole = np.zeros(SIDE_PX * SIDE_PX, np.float32)
    whole[_FACE_MASK] = over_face
    return np.asarray(cv2.blur(whole.reshape(SIDE_PX, SIDE_PX), (_PLACE_PX, _PLACE_PX)), np.float32).ravel()[_FACE_MASK]


def _warped(look: FloatArray, homography: Reals) -> FloatArray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (SIDE_PX, SIDE_PX)
    warped = cv2.warpPerspective(look, homography, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32).ravel()[_FACE_MASK]
