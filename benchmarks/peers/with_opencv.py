"""OpenCV 4 with a Haar cascade and local binary patterns; no package contains the weights of YuNet and SFace."""

from __future__ import annotations

import importlib
from pathlib import Path

import cv2
import numpy as np

from edge.core.records import BgrImage, Box, FloatArray
from peers.peer import BaselineSpec, main_box

_CASCADE = "haarcascade_frontalface_default.xml"
_STEP, _NEIGHBOURS = 1.1, 5  # from OpenCV's tutorials
_SIDE_PX = 100


class HaarAndPatterns:
    """Histograms of local binary patterns in 8 x 8 cells, (16384,), of unit length.

    The square roots of the histograms are compared, so the Euclidean distance is the Hellinger distance. For small
    differences it follows the chi-squared distance of OpenCV's recogniser.
    """

    def __init__(self) -> None:
        # OpenCV 5 and its stubs have neither name.
        module = importlib.import_module("cv2")
        self._cascade = module.CascadeClassifier(str(_cascade_file()))
        self._patterns = module.face.LBPHFaceRecognizer_create()

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Implement `Baseline`."""
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        places = [[int(side) for side in each] for each in self._cascade.detectMultiScale(grey, _STEP, _NEIGHBOURS)]
        main = main_box((Box(x, y, x + width, y + height) for x, y, width, height in places), pixels)
        if main is None:
            return None
        x, y, width, height = places[main]
        face = cv2.resize(grey[y : y + height, x : x + width], (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
        self._patterns.train([face], np.zeros(1, np.int32))
        roots = np.sqrt(np.asarray(self._patterns.getHistograms()[0], np.float32).reshape(-1))
        return np.asarray(roots / max(float(np.linalg.norm(roots)), 1e-12), np.float32)


def entries() -> list[BaselineSpec]:
    """Return the one program."""
    return [BaselineSpec("OpenCV, Haar + LBPH", "Haar cascade, local binary patterns", HaarAndPatterns, _missing)]


def _missing() -> str:
    if hasattr(cv2, "CascadeClassifier") and hasattr(cv2, "face") and _cascade_file().is_file():
        return ""
    return (
        "OpenCV 5 ships no cascades; pip uninstall opencv-python-headless, "
        "then pip install 'opencv-contrib-python-headless<5'"
    )


def _cascade_file() -> Path:
    return Path(cv2.__file__).parent / "data" / _CASCADE
