"""What the stages use of a loaded model, so that measurements can run the same stages on models of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.records import BgrImage, FloatArray
from edge.vision.manifest import AnchorLayer


class ModelContract(Protocol):
    """The part of a model's manifest entry that the stages read; `edge.vision.manifest.Model` has it."""

    @property
    def size_px(self) -> int:
        """Side of the square input, pixels."""

    @property
    def anchors(self) -> Sequence[AnchorLayer]:
        """Detector only, one entry per pair of outputs."""


class LoadedModel(Protocol):
    """A loaded model: write `pixels`, call it, read outputs by role; at the door `edge.vision.tflite.TfliteModel`."""

    @property
    def contract(self) -> ModelContract:
        """Its input and its grids."""

    @property
    def pixels(self) -> BgrImage:
        """(H, W, 3) uint8 BGR, the input picture; ours to write into between calls."""

    def __call__(self) -> None:
        """Run the model on `pixels`."""

    def read(self, role: str, rows: NDArray[np.intp] | slice = ...) -> FloatArray:
        """A copy of one output as real values, float32, without the batch axis, only the chosen rows."""

    def quantized_floor(self, role: str, real: float) -> NDArray[np.intp]:
        """Indices on the second axis where a (1, N, 1) output is at least `real`."""
