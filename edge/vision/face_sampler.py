"""Samples one face of one frame: mesh, alignment, quality, embedding; a refusal skips the remaining steps."""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.core.records import Face, FloatArray, Frame, Landmarks, Sample
from edge.vision.aligner import Aligner
from edge.vision.cascade_detector import CascadeDetector
from edge.vision.detector import Detector
from edge.vision.embedder import Embedder
from edge.vision.face_mesh import FaceMesh
from edge.vision.quality import measure_quality, too_small, with_embedding_norm
from edge.vision.stage_timing import StageTimer, no_timing
from edge.vision.tflite import TfliteModel


class FaceSampler:
    """Turns a detected face into a sample; not thread-safe."""

    def __init__(
        self,
        *,
        mesh: FaceMesh,
        aligner: Aligner,
        embedder: Embedder,
        config: QualityConfig,
        meter: StageTimer = no_timing,
    ) -> None:
        self.embedder = embedder
        self._config = config
        self._locate = meter("landmarks", mesh.locate)
        self._align = meter("align", aligner.align)
        self._assess = meter("quality", measure_quality)
        self._embed = meter("embed", embedder.embed)

    def sample(self, frame: Frame, face: Face, *, mirrored: bool = False) -> Sample:
        """Sample one face, or its mirror image; a refused sample has no embedding but `quality.refusal`."""
        tiny = too_small(face.keypoints_px, self._config)
        if tiny is not None:
            return Sample(None, tiny, None)
        landmarks = self._locate(frame, face)
        crop = self._align(frame, landmarks, mirrored=mirrored)
        quality = self._assess(landmarks, crop, self._config)
        if quality.refusal:
            return Sample(None, quality, landmarks)
        embedding = self._embed()
        quality = with_embedding_norm(quality, self.embedder.strength, self._config)
        return Sample(None if quality.refusal else embedding, quality, landmarks)

    def embed_mirrored(self, frame: Frame, landmarks: Landmarks) -> FloatArray:
        """Embed the mirror image of a face with known landmarks, regardless of its quality: (D,) unit vector."""
        self._align(frame, landmarks, mirrored=True)
        return self._embed()


@dataclass(frozen=True, slots=True)
class VisionStages:
    """The stages with their loaded models."""

    detector: CascadeDetector
    reader: FaceSampler
    models: tuple[TfliteModel, ...]


def load_vision(
    models: ModelsConfig, detector: DetectorConfig, quality: QualityConfig, meter: StageTimer = no_timing
) -> VisionStages:
    """Load detectors, mesh and embedder.

    Raises:
        ModelError: a model, the runtime or the delegate is missing, damaged or incompatible.
    """
    searching = TfliteModel(f"detector-{models.detector}", models)
    closing_in = (
        TfliteModel("detector-near", models) if models.detector == "far" and detector.far_scan_every_s else None
    )
    meshing = TfliteModel("landmarks", models)
    embedding = TfliteModel("embedder", models)
    embedder = Embedder(embedding)
    reader = FaceSampler(
        mesh=FaceMesh(meshing),
        aligner=Aligner(embedding.contract.template_px, into=embedder.pixels),
        embedder=embedder,
        config=quality,
        meter=meter,
    )
    everywhere = Detector(searching, detector)
    close = Detector(closing_in, detector) if closing_in else everywhere
    loaded = (searching, *([closing_in] if closing_in else []), meshing, embedding)
    return VisionStages(CascadeDetector(everywhere, close, detector), reader, loaded)
