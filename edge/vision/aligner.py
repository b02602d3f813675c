"""Every face to the same place: five points mapped onto the embedder's template by a similarity transform."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Floats, Frame, Landmarks, Pixels
from edge.vision.landmarks import five_points


class Aligner:
    """Warps a face into the embedder's input picture."""

    def __init__(self, template_px: tuple[tuple[float, float], ...], into: Pixels) -> None:
        """
        Args:
            template_px: the five points in the embedder's input, pixels.
            into: (H, W, 3) uint8, the embedder's own input picture: alignment writes there and nowhere else.
        """
        self._template = np.array(template_px, np.float64)
        self._into = into

    def align(self, frame: Frame, landmarks: Landmarks) -> Pixels:
        """Write the aligned face; returns the picture it was given, lent until the next call."""
        matrix = similarity(five_points(landmarks), self._template)
        written = cv2.warpAffine(
            frame.pixels, matrix, self._into.shape[1::-1], dst=self._into, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)
        )
        assert written is self._into or np.shares_memory(written, self._into), "cv2.warpAffine ignored dst"
        return self._into


def similarity(source: Floats, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, scale, shift; no mirror) from `source` to `target` points.

    Closed form in the plane: with centred points as complex numbers p and q, a = sum(conj(p) q) / sum(|p|^2) turns
    and scales p onto q (Umeyama 1991, specialised to two dimensions).

    Args:
        source, target: (N, 2) points.

    Returns:
        (2, 3) float64 matrix M with target = M @ [x, y, 1].
    """
    p = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    p_mean, q_mean = p.mean(), q.mean()
    p = p - p_mean
    turn = np.vdot(p, q - q_mean) / max(np.vdot(p, p).real, 1e-12)
    shift = q_mean - turn * p_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
