"""Cues of a recaptured picture: moire patterns of two pixel grids, and the flicker of a screen."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.core.records import Frame, Landmarks

_SIDE_PX = 64  # side of the square around the middle of the face, frame pixels
_BAND = (8, 31)  # cycles per square: above the features of a face, below the Nyquist limit
_NEAR, _AROUND = 3, 11  # cycles: sides of the squares whose means are compared for a peak
_FLOOR = np.float32(0.5)  # grey levels squared; noise floor
_SMOOTH = 6.0  # sum of the squares of (1, -2, 1)

_WINDOW = np.outer(np.hanning(_SIDE_PX), np.hanning(_SIDE_PX)).astype(np.float32)
_ENERGY = np.float32(np.sum(_WINDOW * _WINDOW))
_V, _U = np.mgrid[0:_SIDE_PX, 0:_SIDE_PX] - _SIDE_PX // 2
_LOOKED_AT = (np.hypot(_U, _V) > _BAND[0]) & (np.hypot(_U, _V) < _BAND[1])


def moire_energy(frame: Frame, landmarks: Landmarks) -> float | None:
    """Height of the strongest fine pattern in the spectrum of a face; None at the edge of the frame.

    It is the highest peak of the logarithm of the power above the mean of the surrounding frequencies: 1 to 2 without a
    pattern.
    """
    x, y = landmarks.five_px.mean(axis=0)
    left, top = round(float(x)) - _SIDE_PX // 2, round(float(y)) - _SIDE_PX // 2
    if left < 0 or top < 0:
        return None
    cut = frame.pixels[top : top + _SIDE_PX, left : left + _SIDE_PX]
    if cut.shape[:2] != _WINDOW.shape:
        return None
    grey = cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY).astype(np.float32)
    waves = cv2.dft((grey - grey.mean()) * _WINDOW, flags=cv2.DFT_COMPLEX_OUTPUT)
    power = np.fft.fftshift(waves[..., 0] ** 2 + waves[..., 1] ** 2) / _ENERGY
    height = cv2.log(power + _FLOOR)
    peaks = cv2.blur(height, (_NEAR, _NEAR)) - cv2.blur(height, (_AROUND, _AROUND))
    return float(peaks[_LOOKED_AT].max())


def flicker_energy(light: Sequence[tuple[float, float]]) -> float:
    """Brightness variation of a face relative to its surroundings.

    Args:
        light: mean grey levels of the face and of its surroundings for each sample; at least three samples.

    Returns:
        Root mean square deviation from a steady change between samples, as a share of the brightness.
    """
    face, around = np.log(np.add(light, 1.0)).T
    return float(np.sqrt(np.mean(np.diff(face - around, n=2) ** 2) / _SMOOTH))
