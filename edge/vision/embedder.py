"""An aligned face to a vector: near for the same person, far for others (Schroff et al. 2015, "FaceNet")."""

from __future__ import annotations

import numpy as np

from edge.records import Floats, Pixels
from edge.vision.tflite import Model


class Embedder:
    """MobileFaceNet; write the aligned face into `pixels`, then `embed`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.dimension = model.contract.outputs["embedding"].shape[-1]
        self.sha256 = model.contract.sha256

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 BGR: the input picture."""
        return self._model.pixels

    def embed(self) -> Floats:
        """The (dimension,) float32 unit vector of the face in `pixels`."""
        self._model()
        vector = self._model.read("embedding")
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def embed_mirrored(self) -> Floats:
        """As `embed`, of the mirror image; `pixels` stays mirrored."""
        self._model.pixels[:] = self._model.pixels[:, ::-1].copy()
        return self.embed()
