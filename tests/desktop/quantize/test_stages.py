"""Models are calibrated and compared on the inputs that the stages of a door make."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from threshold_tools.quantize.recipe import RECIPES
from threshold_tools.quantize.runner import ModelRunner
from threshold_tools.quantize.stages import TEMPLATE_PX, Cropper, SubjectFinder

from edge.core.config import DetectorConfig, ModelsConfig
from edge.core.records import BgrImage, Frame
from edge.vision.aligner import Aligner
from edge.vision.detector import Detector, most_prominent_face
from edge.vision.face_mesh import FaceMesh, five_points
from edge.vision.manifest import default_folder, read_model
from edge.vision.tflite import TfliteModel

TEMPLATE_SIDE = 112
Photo = Callable[[str], BgrImage]


@pytest.fixture(scope="module")
def integers() -> dict[str, ModelRunner]:
    """The committed models as the model maker runs them."""
    return {name: ModelRunner(read_model(default_folder(), name)[1]) for name in RECIPES}


@pytest.fixture(scope="module")
def cropper(integers: dict[str, ModelRunner]) -> Cropper:
    return Cropper(integers)


def leaning(image: BgrImage, degrees: float) -> BgrImage:
    """The picture turned about its middle."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8)


def test_crops_of_a_portrait(cropper: Cropper, integers: dict[str, ModelRunner], photo: Photo) -> None:
    """An upright crop for the mesh, and an aligned face whose five points lie near the template."""
    crops = cropper.crop(photo("astronaut"))
    assert crops is not None
    assert crops.mesh.shape == (192, 192, 3)
    larger = np.asarray(cv2.resize(crops.face, (192, 192), interpolation=cv2.INTER_LINEAR), np.uint8)
    again = five_points(integers["landmarks"](larger)["points"].reshape(-1, 3)) * TEMPLATE_SIDE / 192
    assert np.abs(again - np.array(TEMPLATE_PX)).max() < 10
    assert cropper.crop(np.zeros((240, 320, 3), np.uint8)) is None


@pytest.mark.parametrize("turned", [0, 12])
@pytest.mark.parametrize("stem", ["astronaut", "biden", "obama2"])
def test_crops_are_those_of_the_door(cropper: Cropper, photo: Photo, stem: str, turned: int) -> None:
    """Bit for bit: what models are measured on is what the door's detector, mesh and aligner give them."""
    image = leaning(photo(stem), turned)
    frame = Frame(image, 0, 0)
    detecting, meshing = TfliteModel("detector-far", ModelsConfig()), TfliteModel("landmarks", ModelsConfig())
    face = most_prominent_face(Detector(detecting, DetectorConfig()).detect(frame), image.shape[1], image.shape[0])
    assert face is not None
    aligned = np.zeros((TEMPLATE_SIDE, TEMPLATE_SIDE, 3), np.uint8)
    Aligner(TEMPLATE_PX, into=aligned).align(frame, FaceMesh(meshing).locate(frame, face))
    crops = cropper.crop(image)
    assert crops is not None
    assert np.array_equal(crops.mesh, meshing.pixels)
    assert np.array_equal(crops.face, aligned)


@pytest.mark.parametrize("name", ["detector-far", "detector-near"])
def test_pictures_for_a_detector_are_those_of_the_door(
    integers: dict[str, ModelRunner], photo: Photo, name: str
) -> None:
    """Shrunk, placed and padded with grey as at a door; found are the same faces."""
    image = photo("obama2")
    model = TfliteModel(name, ModelsConfig())
    faces = Detector(model, DetectorConfig()).detect(Frame(image, 0, 0))
    finder = SubjectFinder(integers[name], RECIPES[name].anchors)
    assert np.array_equal(finder.input_of(image), model.pixels)
    found, expected = finder.find(image), most_prominent_face(faces, image.shape[1], image.shape[0])
    assert found is not None
    assert expected is not None
    assert (found.box, found.score) == (expected.box, expected.score)
    assert np.array_equal(found.keypoints_px, expected.keypoints_px)
