"""Samples of photos, with the stages of a door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.core.errors import InputError
from edge.core.records import BgrImage, Face, FloatArray, Frame, Sample
from edge.vision.detector import most_prominent_face
from edge.vision.face_sampler import VisionStages, load_vision
from edge.vision.images import read_image
from edge.vision.manifest import OperatingPoint

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_SURE = DetectorConfig().min_score
_LIKELY = 0.3  # the main person may have a lower score than a face in the background
CANDIDATE = 0.1  # an enrolment photo shows a person: without a likely face, a less likely one is used
ANY_QUALITY = QualityConfig(
    min_size_px=1e-6,
    max_yaw_deg=180,
    max_pitch_deg=180,
    min_sharpness=0,
    min_brightness=0,
    max_glare=1,
    min_presence=0,
    min_norm=0,
)


def photos_in(folder: Path) -> list[Path]:
    """Every image file in a folder and its subfolders, sorted by path.

    Raises:
        InputError: no such folder, or it contains no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"{folder}: no image in it ({' '.join(sorted(SUFFIXES))})")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSample:
    """The faces of a photo, and the sample of the main one."""

    faces: list[Face]  # the main face and all faces above the detector's default score, largest first
    main: Face | None  # largest, most central likely face, or None
    sample: Sample | None  # sample of the main face, or None
    mirrored: FloatArray | None  # (D,) float32 unit embedding of the mirror image; None if not requested or rejected


class PhotoSampler:
    """Detector, mesh, aligner and embedder of a door, for single pictures."""

    def __init__(self, quality: QualityConfig, models: ModelsConfig | None = None) -> None:
        """
        Raises:
            ModelError: a model or the runtime is missing or damaged.
        """
        self.vision: VisionStages = load_vision(
            models or ModelsConfig(), DetectorConfig(min_score=CANDIDATE, far_scan_every_s=0), quality
        )

    @property
    def embedder_sha256(self) -> str:
        """Hash of the embedder; embeddings and galleries are valid only for it."""
        return self.vision.reader.embedder.sha256

    @property
    def impostors(self) -> Sequence[OperatingPoint]:
        """The embedder's table of impostor distances."""
        return self.vision.models[-1].contract.impostors

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return self.vision.reader.embedder.dimension

    def sample_file(self, path: Path, *, mirror: bool = False) -> PhotoSample:
        """Find the main face of a photo and embed it.

        Raises:
            ImageError: the file is not a readable image.
        """
        return self.sample(read_image(path), mirror=mirror)

    def sample(self, pixels: BgrImage, *, mirror: bool = False) -> PhotoSample:
        """Like `sample_file`, for (H, W, 3) uint8 BGR pixels."""
        frame = Frame(pixels, 0, 0)
        candidates = self.vision.detector.detect(frame)
        face = subject(candidates, pixels.shape[1], pixels.shape[0])
        if face is None:
            return PhotoSample([], None, None, None)
        sample = self.vision.reader.sample(frame, face)
        mirrored = None
        if mirror and sample.embedding is not None and sample.landmarks is not None:
            mirrored = self.vision.reader.embed_mirrored(frame, sample.landmarks)
        faces = [each for each in candidates if each is face or each.score >= _SURE]
        return PhotoSample(faces, face, sample, mirrored)


def subject(candidates: list[Face], width_px: int, height_px: int) -> Face | None:
    """The main face of a photo: the largest, most central likely face, else unlikely face."""
    likely = [face for face in candidates if face.score >= _LIKELY]
    return most_prominent_face(likely or candidates, width_px, height_px)


def normalize(vector: FloatArray) -> FloatArray:
    """The vector scaled to length one."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
