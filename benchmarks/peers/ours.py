"""Threshold in the ways in which a door runs it; with one thread, and whatever the face's quality."""

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
    """Somebody new at a door that has rested: the near detector looks, the far one if it finds nobody near."""

    def __init__(self) -> None:
        self._vision = _vision("far", far_scan_every_s=DetectorConfig().far_scan_every_s)
        self._t_ns = 0

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """As `Baseline`."""
        self._t_ns += _REST_NS
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, self._t_ns)))


class FarDetector:
    """The whole frame is searched by one detector, then mesh and embedder."""

    def __init__(self, detector: Literal["far", "near"]) -> None:
        self._vision = _vision(detector, far_scan_every_s=0)

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """As `Baseline`."""
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, 0)))


class TrackedFace:
    """Somebody who was there a frame ago: a close look, then mesh and embedder, every second time of the mirror image.

    For one picture again and again: there the face is always where it was.
    """

    def __init__(self) -> None:
        self._vision = _vision("far", far_scan_every_s=DetectorConfig().far_scan_every_s)
        self._known: Sequence[Face] = ()
        self._mirrored = True

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """As `Baseline`."""
        self._known = self._vision.detector.detect(Frame(pixels, 0, 0), self._known)
        self._mirrored = not self._mirrored
        return _read(self._vision, pixels, self._known, mirrored=self._mirrored)


def entries() -> list[BaselineSpec]:
    """Our ways."""
    return [
        BaselineSpec(
            FIRST_SIGHT,
            "somebody near after a rest: a look by the near detector, mesh, embedder",
            NearDetector,
            lambda: "",
            ours=True,
        ),
        BaselineSpec(
            SEARCHED,
            "the whole frame searched by the far detector, mesh, embedder",
            lambda: FarDetector("far"),
            lambda: "",
            ours=True,
        ),
        BaselineSpec(
            FOLLOWED,
            "a close look by the near detector, mesh, embedder",
            TrackedFace,
            lambda: "",
            ours=True,
            photos=False,
        ),
        BaselineSpec(
            NEAR,
            "the whole frame searched by the near detector, mesh, embedder",
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
