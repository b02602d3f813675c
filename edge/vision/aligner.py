"""Aligns faces: a similarity transform maps five points onto the template of the embedder."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.records import BgrImage, Frame, Landmarks


class Aligner:
    """Warps a face into the embedder's input picture."""

    def __init__(self, template_px: tuple[tuple[float, float], ...], into: BgrImage) -> None:
        """
        Args:
            template_px: the five points in the input of the embedder, pixels.
            into: (H, W, 3) uint8, input picture of the embedder; aligned faces are written there.
        """
        self._template = template_px
        self._into = into

    def align(self, frame: Frame, landmarks: Landmarks, *, mirrored: bool = False) -> BgrImage:
        """Write the aligned face, or its mirror image, into `into` and return it; valid until the next call."""
        matrix = similarity(landmarks.five_px.tolist(), self._template)
        size = self._into.shape[1], self._into.shape[0]
        if mirrored:
            matrix[0] = -matrix[0]
            matrix[0, 2] += size[0] - 1
        written = cv2.warpAffine(frame.pixels, matrix, size, dst=self._into, flags=cv2.INTER_LINEAR)
        assert written is self._into, "cv2.warpAffine ignored dst"
        return self._into


def similarity(source: Sequence[Sequence[float]], target: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, scale, shift; no mirror) from N `source` to N `target` points (x, y).

    Closed form in the plane: with centred points as complex numbers p and q, a = sum(conj(p) q) / sum(|p|^2) rotates
    and scales p onto q (Umeyama 1991, specialised to two dimensions). A sum of centred products is the sum of the
    products minus the number of points times the product of the means.

    Returns:
        (2, 3) float64 matrix M with target = M @ [x, y, 1].
    """
    count = len(source)
    x_sum = y_sum = u_sum = v_sum = spread = along = across = 0.0
    for (x, y), (u, v) in zip(source, target, strict=True):
        x_sum, y_sum, u_sum, v_sum = x_sum + x, y_sum + y, u_sum + u, v_sum + v
        spread += x * x + y * y
        along += x * u + y * v
        across += x * v - y * u
    spread = max(spread - (x_sum * x_sum + y_sum * y_sum) / count, 1e-12)
    real = (along - (x_sum * u_sum + y_sum * v_sum) / count) / spread
    imaginary = (across - (x_sum * v_sum - y_sum * u_sum) / count) / spread
    shift_x = (u_sum - real * x_sum + imaginary * y_sum) / count
    shift_y = (v_sum - imaginary * x_sum - real * y_sum) / count
    return np.array([[real, -imaginary, shift_x], [imaginary, real, shift_y]])
