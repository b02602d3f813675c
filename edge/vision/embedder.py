"""An aligned face to a vector: near for the same person, far for others (Schroff et al. 2015, "FaceNet")."""

from __future__ import annotations

import math

from edge.core.records import BgrImage, FloatArray
from edge.vision.tflite import TfliteModel


class Embedder:
    """MobileFaceNet; write the aligned face into `pixels`, then `embed`."""

    def __init__(self, model: TfliteModel) -> None:
        self._model = model
        self._typical_length = model.contract.typical_length
        # Of the last answer: the length of the raw vector, in the model's typical lengths; 0 where the manifest knows
        # none. A network trained with a softmax loss answers the shorter the less it sees of a face: covered, smeared,
        # dark (Meng et al. 2021, "MagFace", train for it; here it comes by itself, and free).
        self.strength = 0.0
        self.dimension = model.contract.outputs["embedding"].shape[-1]  # length of the embeddings
        # Of the model file, or of the one it was compiled from: what vectors are bound to
        self.sha256 = model.contract.embedding_space_sha256
        self.impostors = model.contract.impostors  # conservative table for thresholds, falling in fmr

    @property
    def pixels(self) -> BgrImage:
        """(H, W, 3) uint8 BGR: the input picture."""
        return self._model.pixels

    def embed(self) -> FloatArray:
        """The (dimension,) float32 unit vector of the face in `pixels`."""
        self._model()
        vector = self._model.read("embedding")
        length = max(math.hypot(*vector.tolist()), 1e-12)
        self.strength = length / self._typical_length if self._typical_length else 0.0
        return vector / length
