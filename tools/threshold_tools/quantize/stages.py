"""What each model sees of a photo: the door's own stages, run on a float graph or an int8 file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.config import DetectorConfig
from edge.core.records import BgrImage, Face, FloatArray, Frame
from edge.vision.aligner import Aligner
from edge.vision.detector import Detector
from edge.vision.face_mesh import FaceMesh
from edge.vision.manifest import AnchorLayer
from threshold_tools.photos import subject
from threshold_tools.quantize.recipe import RECIPES

# ArcFace's five-point template for 112x112: eyes, nose tip, mouth corners, from the left of the image to the right.
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


class Runner(Protocol):
    """A loaded model: pixels (H, W, 3) uint8 BGR in, float32 arrays by role out."""

    size_px: int

    def __call__(self, pixels: BgrImage) -> dict[str, FloatArray]: ...


@dataclass(frozen=True, slots=True)
class _Contract:
    size_px: int
    anchors: tuple[AnchorLayer, ...] = ()


class RunnerNetwork:
    """A runner as `edge.vision.tflite.LoadedModel`, so that the door's stages accept it."""

    def __init__(self, runner: Runner, anchors: tuple[AnchorLayer, ...] = ()) -> None:
        self.contract = _Contract(runner.size_px, anchors)
        self.pixels: BgrImage = np.zeros((runner.size_px, runner.size_px, 3), np.uint8)
        self._runner = runner
        self._outputs: dict[str, FloatArray] = {}

    def __call__(self) -> None:
        """Run the model on `pixels`."""
        self._outputs = self._runner(self.pixels)

    def read(self, role: str, rows: NDArray[np.intp] | slice = slice(None)) -> FloatArray:
        """A copy of one output, float32, without the batch axis, only the chosen rows."""
        return np.array(self._outputs[role][0, rows], np.float32)

    def quantized_floor(self, role: str, real: float) -> NDArray[np.intp]:
        """Indices on the second axis where a (1, N, 1) output is at least `real`."""
        return (self._outputs[role].ravel() >= real).nonzero()[0]


class SubjectFinder:
    """Finds the person a photo is of, as enrolment does; not thread-safe."""

    def __init__(
        self, runner: Runner, anchors: tuple[AnchorLayer, ...], min_score: float = DetectorConfig().min_score
    ) -> None:
        """
        Args:
            runner: a detector.
            anchors: its grids.
            min_score: of a face, 0..1.
        """
        self._running = RunnerNetwork(runner, anchors)
        self._detector = Detector(self._running, DetectorConfig(min_score=min_score))

    def find(self, photo: BgrImage) -> Face | None:
        """The subject of a photo, (H, W, 3) uint8 BGR; None if there is no face."""
        return subject(self._detector.detect(Frame(photo, 0, 0)), photo.shape[1], photo.shape[0])

    def input_of(self, photo: BgrImage) -> BgrImage:
        """What the detector sees of a photo, (side, side, 3) uint8 BGR."""
        self._detector.detect(Frame(photo, 0, 0))
        return self._running.pixels.copy()


@dataclass(frozen=True, slots=True, eq=False)
class ModelInputs:
    """What one photo becomes: `mesh` the upright face crop, `face` the aligned one, uint8 BGR."""

    mesh: BgrImage
    face: BgrImage


class Cropper:
    """Photos to what the mesh and the embedder see; not thread-safe."""

    def __init__(self, models: Mapping[str, Runner], min_score: float = DetectorConfig().min_score) -> None:
        """
        Args:
            models: "detector-far", "landmarks" and "embedder", of which only the size of the input is used.
            min_score: of a face, 0..1.
        """
        self._finder = SubjectFinder(models["detector-far"], RECIPES["detector-far"].anchors, min_score)
        self._running = RunnerNetwork(models["landmarks"])
        self._mesh = FaceMesh(self._running)
        side_px = models["embedder"].size_px
        self._face: BgrImage = np.zeros((side_px, side_px, 3), np.uint8)
        scale = side_px / 112
        self._aligner = Aligner(tuple((x * scale, y * scale) for x, y in TEMPLATE_PX), into=self._face)

    def crop(self, photo: BgrImage) -> ModelInputs | None:
        """The crops of the subject of a photo, (H, W, 3) uint8 BGR; None if there is no face."""
        face = self._finder.find(photo)
        if face is None:
            return None
        frame = Frame(photo, 0, 0)
        self._aligner.align(frame, self._mesh.locate(frame, face))
        return ModelInputs(self._running.pixels.copy(), self._face.copy())
