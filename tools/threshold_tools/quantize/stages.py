"""Inputs of each model from photos, by the stages of a door on a float graph or an int8 file; and scenes of a door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.config import DetectorConfig
from edge.core.records import BgrImage, Face, FloatArray, Frame
from edge.vision.aligner import Aligner
from edge.vision.detector import Detector
from edge.vision.face_mesh import FaceMesh
from edge.vision.images import read_image
from edge.vision.manifest import AnchorLayer
from threshold_tools.photos import subject
from threshold_tools.quantize.recipe import RECIPES, Recipe
from threshold_tools.quantize.runner import ModelRunner

# ArcFace's five-point template for 112x112: eyes, nose tip, mouth corners, from the left of the image to the right.
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
_SCENE = (480, 640)  # height, width
_FEW = 20  # photos; with fewer, scenes are rendered


@dataclass(frozen=True, slots=True)
class _Contract:
    size_px: int
    anchors: tuple[AnchorLayer, ...] = ()


class RunnerNetwork:
    """A runner with the interface of `edge.vision.tflite.LoadedModel`, for the stages of a door."""

    def __init__(self, runner: ModelRunner, anchors: tuple[AnchorLayer, ...] = ()) -> None:
        self.contract = _Contract(runner.size_px, anchors)
        self.pixels: BgrImage = np.zeros((runner.size_px, runner.size_px, 3), np.uint8)
        self._runner = runner
        self._outputs: dict[str, FloatArray] = {}

    def __call__(self) -> None:
        """Run the model on `pixels`."""
        self._outputs = self._runner(self.pixels)

    def read(self, role: str, rows: NDArray[np.intp] | slice = slice(None)) -> FloatArray:
        """A copy of the chosen rows of one output, float32, without the batch axis."""
        return np.array(self._outputs[role][0, rows], np.float32)

    def quantized_floor(self, role: str, real: float) -> NDArray[np.intp]:
        """Indices on the second axis where a (1, N, 1) output is at least `real`."""
        return (self._outputs[role].ravel() >= real).nonzero()[0]


class SubjectFinder:
    """Finds the main face of a photo, as enrolment does; not thread-safe."""

    def __init__(
        self, runner: ModelRunner, anchors: tuple[AnchorLayer, ...], min_score: float = DetectorConfig().min_score
    ) -> None:
        """`runner`: a detector with these grids; `min_score`: minimum score of a face, 0..1."""
        self._running = RunnerNetwork(runner, anchors)
        self._detector = Detector(self._running, DetectorConfig(min_score=min_score))

    def find(self, photo: BgrImage) -> Face | None:
        """The main face of a photo, (H, W, 3) uint8 BGR; None if there is no face."""
        return subject(self._detector.detect(Frame(photo, 0, 0)), photo.shape[1], photo.shape[0])

    def input_of(self, photo: BgrImage) -> BgrImage:
        """The input of the detector for a photo, (side, side, 3) uint8 BGR."""
        self._detector.detect(Frame(photo, 0, 0))
        return self._running.pixels.copy()


@dataclass(frozen=True, slots=True, eq=False)
class ModelInputs:
    """Inputs of mesh and embedder for one photo, uint8 BGR."""

    mesh: BgrImage  # upright face crop
    face: BgrImage  # aligned face


class Cropper:
    """Crops photos to the inputs of mesh and embedder; not thread-safe."""

    def __init__(self, models: Mapping[str, ModelRunner], min_score: float = DetectorConfig().min_score) -> None:
        """`models`: "detector-far", "landmarks" and, for the size of its input, "embedder"; `min_score`: 0..1."""
        self._finder = SubjectFinder(models["detector-far"], RECIPES["detector-far"].anchors, min_score)
        self._running = RunnerNetwork(models["landmarks"])
        self._mesh = FaceMesh(self._running)
        side_px = models["embedder"].size_px
        self._face: BgrImage = np.zeros((side_px, side_px, 3), np.uint8)
        scale = side_px / 112
        self._aligner = Aligner(tuple((x * scale, y * scale) for x, y in TEMPLATE_PX), into=self._face)

    def crop(self, photo: BgrImage) -> ModelInputs | None:
        """The crops of the main face of a photo, (H, W, 3) uint8 BGR; None if there is no face."""
        face = self._finder.find(photo)
        if face is None:
            return None
        frame = Frame(photo, 0, 0)
        self._aligner.align(frame, self._mesh.locate(frame, face))
        return ModelInputs(self._running.pixels.copy(), self._face.copy())


def model_inputs(
    recipe: Recipe, paths: list[Path], floats: Mapping[str, ModelRunner], count: int
) -> Iterator[BgrImage]:
    """Inputs of a model for at most `count` photos: whole scenes, mesh crops or aligned faces, uint8 BGR.

    `floats`, the float form of every model, finds the faces; photos without a face are skipped.
    """
    if recipe.job == "detector":
        own = SubjectFinder(floats[recipe.name], recipe.anchors)
        yield from (own.input_of(scene) for scene in scenes(paths, count, seed=0))
        return
    cropper = Cropper(floats)
    for image in _views(paths, count):
        crops = cropper.crop(image)
        if crops is not None:
            yield crops.mesh if recipe.job == "landmarks" else crops.face


def scenes(paths: list[Path], count: int, seed: int) -> Iterator[BgrImage]:
    """Scenes of a door from photos: unchanged, and smaller in front of a sharp or blurred background."""
    random = np.random.default_rng(seed)
    height, width = _SCENE
    for k in range(count):
        photo = read_image(paths[k * len(paths) // count % len(paths)])
        background = read_image(paths[int(random.integers(len(paths)))])
        side, x, y = random.uniform(0.25, 1.0), random.uniform(), random.uniform()
        if k % 3 == 0:
            yield photo
            continue
        scene = cv2.resize(background, (width, width))[(width - height) // 2 :][:height]
        if k % 3 == 1:
            scene = cv2.GaussianBlur(scene, (0, 0), 15)
        scale = side * height / max(photo.shape[:2])
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = int(y * (height - small.shape[0])), int(x * (width - small.shape[1]))
        scene[top : top + small.shape[0], left : left + small.shape[1]] = small
        yield np.asarray(scene, np.uint8)


def _views(paths: list[Path], count: int) -> Iterator[BgrImage]:
    """At most `count` photos, evenly spaced; with few photos, `count` scenes."""
    if len(paths) < _FEW:
        yield from scenes(paths, count, seed=2)
        return
    places = range(len(paths)) if len(paths) <= count else np.linspace(0, len(paths) - 1, count).astype(int)
    yield from (read_image(paths[place]) for place in places)
