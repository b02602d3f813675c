"""Embeds aligned faces: vectors of one person are near, those of others far (Schroff et al. 2015, "FaceNet")."""

from __future__ import annotations

import math

from edge.core.records import BgrImage, FloatArray
from edge.vision.tflite import TfliteModel


class Embedder:
    """MobileFaceNet; write the aligned face into `pixels`, then `embed`."""

    def __init__(self, model: TfliteModel) -> None:
        self._model = model
        self._typical_length = model.contract.typical_length
        # Length of the last raw vector divided by the typical length of the model; 0 if the manifest has none. A
        # network trained with a softmax loss gives shorter vectors for covered, blurred or dark faces (Meng et al.
        # 2021, "MagFace", train for this; here it needs no training and no extra time).
        self.strength = 0.0
        self.dimension = model.contract.outputs["embedding"].shape[-1]  # length of the embeddings
        # Hash of the model file, or of the model it was compiled from; galleries are bound to it
        self.sha256 = model.contract.embedding_space_sha256
        self.impostors = model.contract.impostors  # conservative table for thresholds, in order of falling fmr

    @property
    def pixels(self) -> BgrImage:
        """Input picture, (H, W, 3) uint8 BGR."""
        return self._model.pixels

    def embed(self) -> FloatArray:
        """Embed the face in `pixels`: (dimension,) float32 unit vector."""
        self._model()
        vector = self._model.read("embedding")
        length = max(math.hypot(*vector.tolist()), 1e-12)
        self.strength = length / self._typical_length if self._typical_length else 0.0
        return vector / length
