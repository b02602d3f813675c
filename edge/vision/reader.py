"""One face in one frame to one sample: mesh, alignment, quality, embedding, each only when the one before allows it."""

from __future__ import annotations

from dataclasses import dataclass

from edge.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.records import Face, Frame, Sample
from edge.vision.aligner import Aligner
from edge.vision.detector import Detector
from edge.vision.embedder import Embedder
from edge.vision.landmarks import Mesh
from edge.vision.metering import Meter, unmetered
from edge.vision.quality import assess, too_small
from edge.vision.tflite import Model


class FaceReader:
    """Turns a detected face into evidence; not thread-safe."""

    def __init__(
        self, *, mesh: Mesh, aligner: Aligner, embedder: Embedder, config: QualityConfig, meter: Meter = unmetered
    ) -> None:
        self.embedder = embedder
        self._config = config
        self._locate = meter("landmarks", mesh.locate)
        self._align = meter("align", aligner.align)
        self._assess = meter("quality", assess)
        self._embed = meter("embed", embedder.embed)

    def read(self, frame: Frame, face: Face) -> Sample:
        """Look at one face. A refused one has no embedding and says why in its quality."""
        tiny = too_small(face.keypoints_px, self._config)
        if tiny is not None:
            return Sample(None, tiny, None)
        landmarks = self._locate(frame, face)
        crop = self._align(frame, landmarks)
        quality = self._assess(landmarks, crop, self._config)
        return Sample(None if quality.refusal else self._embed(), quality, landmarks)


@dataclass(frozen=True, slots=True)
class Vision:
    """The stages that hold models, loaded, and which runtime executes them."""

    detector: Detector
    reader: FaceReader
    models: tuple[Model, ...]


def load_vision(
    models: ModelsConfig, detector: DetectorConfig, quality: QualityConfig, meter: Meter = unmetered
) -> Vision:
    """Load detector, mesh and embedder.

    Raises:
        ModelError: a model, the runtime or the delegate is missing, damaged or does not fit.
    """
    finding = Model(f"detector-{models.detector}", models)
    meshing = Model("landmarks", models)
    embedding = Model("embedder", models)
    embedder = Embedder(embedding)
    reader = FaceReader(
        mesh=Mesh(meshing),
        aligner=Aligner(embedding.contract.template_px, into=embedder.pixels),
        embedder=embedder,
        config=quality,
        meter=meter,
    )
    return Vision(Detector(finding, detector), reader, (finding, meshing, embedding))
