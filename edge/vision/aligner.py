"""Every face to the same place: five points mapped onto the embedder's template by a similarity transform."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Frame, Landmarks, Pixels


class Aligner:
    """Warps a face into the embedder's input picture."""

    def __init__(self, template_px: tuple[tuple[float, float], ...], into: Pixels) -> None:
        """
        Args:
            template_px: the five points in the embedder's input, pixels.
            into: (H, W, 3) uint8, the embedder's own input picture: alignment writes there and nowhere else.
        """
        self._template = template_px
        self._into = into

    def align(self, frame: Frame, landmarks: Landmarks, *, mirrored: bool = False) -> Pixels:
        """Write the aligned face, or its mirror image; returns the picture it was given, lent until the next call."""
        matrix = similarity(landmarks.five_px.tolist(), self._template)
        size = self._into.shape[1], self._into.shape[0]
        if mirrored:
            matrix[0] = -matrix[0]
            matrix[0, 2] += size[0] - 1
        written = cv2.warpAffine(frame.pixels, matrix, size, dst=self._into, flags=cv2.INTER_LINEAR)
        assert written is self._into, "cv2.warpAffine ignored dst"
        return self._into


def similarity(source: Sequence[Sequence[float]], target: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, scale, shift; no mirror) from `source` to `target` points.

    Closed form in the plane: with centred points as complex numbers p and q, a = sum(conj(p) q) / sum(|p|^2) turns
    and scales p onto q (Umeyama 1991, specialised to two dimensions).

    Args:
        source, target: N points (x, y).

    Returns:
        (2, 3) float64 matrix M with target = M @ [x, y, 1].
    """
    p = [complex(x, y) for x, y in source]
    q = [complex(x, y) for x, y in target]
    p_mean, q_mean = sum(p) / len(p), sum(q) / len(q)
    pairs = [(a - p_mean, b - q_mean) for a, b in zip(p, q, strict=True)]
    spread = sum(abs(a) ** 2 for a, _ in pairs)
    turn = sum(a.conjugate() * b for a, b in pairs) / max(spread, 1e-12)
    shift = q_mean - turn * p_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
