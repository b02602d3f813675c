"""Threshold in the modes of a door, with one thread and without quality limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from threshold_tools.photos import ANY_QUALITY

from edge.core.config import DetectorConfig, ModelsConfig
from edge.core.records import BgrImage, Face, FloatArray, Frame
from edge.vision.detector import most_prominent_face
from edge.vision.face_sampler import VisionStages, load_vision
from peers.peer import BaselineSpec

FIRST_SIGHT, SEARCHED = "threshold, first sight", "threshold, far search"
FOLLOWED, NEAR = "threshold, followed", "threshold, near detector"
_REST_NS = 60_000_000_000


class NearDetector:
    """A new visitor at an idle door: near detector, then the far detector if no face is near."""

    def __init__(self) -> None:
        self._vision = _vision("far", far_scan_every_s=DetectorConfig().far_scan_every_s)
        self._t_ns = 0

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Implement `Baseline`."""
        self._t_ns += _REST_NS
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, self._t_ns)))


class FarDetector:
    """One detector searches the whole frame; then landmarks and embedder run."""

    def __init__(self, detector: Literal["far", "near"]) -> None:
        self._vision = _vision(detector, far_scan_every_s=0)

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Implement `Baseline`."""
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, 0)))


class TrackedFace:
    """A visitor who is tracked: close search, landmarks and embedder; every second sample is the mirror image.

    Only for one picture that is repeated, because the face must not move.
    """

    def __init__(self) -> None:
        self._vision = _vision("far", far_scan_every_s=DetectorConfig().far_scan_every_s)
        self._known: Sequence[Face] = ()
        self._mirrored = True

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Implement `Baseline`."""
        self._known = self._vision.detector.detect(Frame(pixels, 0, 0), self._known)
        self._mirrored = not self._mirrored
        return _read(self._vision, pixels, self._known, mirrored=self._mirrored)


def entries() -> list[BaselineSpec]:
    """Return the modes of Threshold."""
    return [
        BaselineSpec(
            FIRST_SIGHT,
            "visitor near an idle door: near detector, landmarks, embedder",
            NearDetector,
            lambda: "",
            ours=True,
        ),
        BaselineSpec(
            SEARCHED,
            "far detector on the whole frame, landmarks, embedder",
            lambda: FarDetector("far"),
            lambda: "",
            ours=True,
        ),
        BaselineSpec(
            FOLLOWED,
            "near detector around the face, landmarks, embedder",
            TrackedFace,
            lambda: "",
            ours=True,
            photos=False,
        ),
        BaselineSpec(
            NEAR,
            "near detector on the whole frame, landmarks, embedder",
            lambda: FarDetector("near"),
            lambda: "",
            ours=True,
        ),
    ]


def _vision(detector: Literal["far", "near"], *, far_scan_every_s: float) -> VisionStages:
    return load_vision(
        ModelsConfig(detector=detector, threads=1), DetectorConfig(far_scan_every_s=far_scan_every_s), ANY_QUALITY
    )


def _read(
    vision: VisionStages, pixels: BgrImage, faces: Sequence[Face], *, mirrored: bool = False
) -> FloatArray | None:
    face = most_prominent_face(list(faces), pixels.shape[1], pixels.shape[0])
    return None if face is None else vision.reader.sample(Frame(pixels, 0, 0), face, mirrored=mirrored).embedding
