"""Analyses one photo as a door does; a rejected face is measured, too, so that the rejection can be explained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge.core.config import DetectorConfig, DoorConfig, QualityConfig
from edge.core.errors import ImageError
from edge.core.records import BgrImage, Face, FloatArray, Frame, Landmarks, Quality, Sample
from edge.vision.aligner import Aligner
from edge.vision.cascade_detector import CascadeDetector
from edge.vision.detector import Detector
from edge.vision.face_mesh import FaceMesh
from edge.vision.face_sampler import FaceSampler, VisionStages
from edge.vision.images import read_image
from threshold_tools.explain.report import PhotoReport, QualityPart, unit
from threshold_tools.photos import ANY_QUALITY, PhotoSampler, normalize

_LABELS = {
    "score": "detector score",
    "presence": "landmark score",
    "size_px": "distance between the eyes",
    "yaw_deg": "turned to the side",
    "pitch_deg": "looking up or down",
    "roll_deg": "tilted sideways",
    "brightness": "brightness (grey level)",
    "glare": "white pixels (glare)",
    "embedding_norm": "clarity (embedding norm)",
}
_UNKNOWN_AT_0 = frozenset({"embedding_norm"})
_NO_PART = frozenset({"weight", "refusal"})


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedPhoto:
    """The main face of a photo."""

    path: Path  # of the photo
    pixels: BgrImage  # (H, W, 3) uint8 BGR
    faces: list[Face]  # all faces found
    face: Face  # the face that is used
    landmarks: Landmarks  # of that face
    crop: BgrImage  # (112, 112, 3) uint8 BGR, aligned
    embedding: FloatArray  # (D,) float32 unit vector, also of a face that a door rejects
    enrolled: FloatArray  # (D,) float32 unit vector of the face and its mirror image, as in a gallery
    sample: Sample  # sample of a door: no embedding if the door rejects the face
    report: PhotoReport  # the same as data


class PhotoAnalyzer:
    """Runs the stages of a door on photos, with the quality limits of the door and without limits."""

    def __init__(self, config: DoorConfig) -> None:
        """
        Raises:
            ModelError: a model or the runtime is missing or damaged.
        """
        self.config = config
        self.sampler = PhotoSampler(ANY_QUALITY, config.models)  # without limits
        finding, meshing, embedding = self.sampler.vision.models
        embedder = self.sampler.vision.reader.embedder
        self.template_px = embedding.contract.template_px  # where alignment puts the five points
        aligner = Aligner(self.template_px, into=embedder.pixels)
        strict = FaceSampler(mesh=FaceMesh(meshing), aligner=aligner, embedder=embedder, config=config.quality)
        search = Detector(finding, config.detector)
        # with the limits of the door, on the same models
        self.at_door = VisionStages(
            CascadeDetector(search, search, config.detector), strict, self.sampler.vision.models
        )

    def analyze(self, path: Path) -> ExplainedPhoto:
        """Find and measure the main face of one photo.

        Raises:
            ImageError: it is not a readable image, or shows no face.
        """
        pixels = read_image(path)
        found = self.sampler.sample(pixels)
        if found.main is None or found.sample is None or found.sample.landmarks is None:
            raise ImageError(f"{path}: no face found; give a photo in which a face is larger or less covered")
        landmarks = found.sample.landmarks
        embedder = self.sampler.vision.reader.embedder
        crop = embedder.pixels.copy()
        embedding = embedder.embed()
        sample = self._sample(pixels, found.main)
        quality = dataclasses.replace(
            found.sample.quality, weight=sample.quality.weight, refusal=sample.quality.refusal
        )
        box = found.main.box
        report = PhotoReport(
            photo=str(path),
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            faces=len(found.faces),
            box=(round(box.left, 1), round(box.top, 1), round(box.right, 1), round(box.bottom, 1)),
            five_px=[(x, y) for x, y in np.round(landmarks.five_px.astype(float), 1).tolist()],
            parts=quality_parts(
                found.main.score, landmarks.presence, quality, self.config.quality, self.config.detector
            ),
            weight=quality.weight,
            refusal=quality.refusal,
        )
        return ExplainedPhoto(
            path=path,
            pixels=pixels,
            faces=found.faces,
            face=found.main,
            landmarks=landmarks,
            crop=crop,
            embedding=embedding,
            enrolled=normalize(embedding + self.sampler.vision.reader.embed_mirrored(Frame(pixels, 0, 0), landmarks)),
            sample=sample,
            report=report,
        )

    def _sample(self, pixels: BgrImage, face: Face) -> Sample:
        """The sample that a door would take; a face below the detector's minimum score is rejected as no face."""
        sample = self.at_door.reader.sample(Frame(pixels, 0, 0), face)
        if face.score >= self.config.detector.min_score:
            return sample
        return Sample(None, dataclasses.replace(sample.quality, weight=0.0, refusal="no-face"), None)


def quality_parts(
    score: float, presence: float, quality: Quality, gates: QualityConfig, detector: DetectorConfig
) -> list[QualityPart]:
    """Every part of a quality with its limits: `min_<part>`, `max_<part>`, `full_weight_<part>` of the configuration.

    `score` is the detector's and `presence` the mesh's, both 0..1.
    """
    values = {"score": score, "presence": presence}
    values |= {
        field.name: float(getattr(quality, field.name))
        for field in dataclasses.fields(quality)
        if field.name not in _NO_PART and (field.name not in _UNKNOWN_AT_0 or getattr(quality, field.name))
    }
    limits = {"min_score": detector.min_score, **msgspec.structs.asdict(gates)}
    return [_part(name, value, limits) for name, value in values.items()]


def _part(name: str, value: float, limits: dict[str, float]) -> QualityPart:
    key = name.removeprefix("embedding_")
    least, most = limits.get(f"min_{key}"), limits.get(f"max_{key}")
    gate = " and ".join(
        f"at {word} {limit:g}{unit(name)}" for word, limit in (("least", least), ("most", most)) if limit is not None
    )
    ok = (least is None or value >= least) and (most is None or abs(value) <= most)
    label = _LABELS.get(name, name.removesuffix("_px").removesuffix("_deg").replace("_", " "))
    return QualityPart(name, label, value, gate, ok, limits.get(f"full_weight_{key}"))
