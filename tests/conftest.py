"""Shared fixtures: the real models, loaded once, and the bundled pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as edge.cli does, before numpy is imported

import pytest

from edge.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.demo.show import FOLDER
from edge.records import Face, Frame, Pixels
from edge.vision.camera import read_image
from edge.vision.reader import Vision, load_vision

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def vision() -> Vision:
    """Detector, mesh and embedder as the door runs them, every frame searched, so that no test depends on another."""
    return load_vision(ModelsConfig(), DetectorConfig(scan_every_s=0), QualityConfig())


@pytest.fixture(scope="session")
def watching() -> Vision:
    """The same as a door has them, which remember when they last searched."""
    return load_vision(ModelsConfig(), DetectorConfig(), QualityConfig())


@pytest.fixture(scope="session")
def photo() -> Callable[[str], Pixels]:
    """A bundled photo by its stem: two of barack-obama (enrolled in the demo), biden and astronaut."""
    paths = [*FOLDER.glob("people/*/*.jpg"), *DATA.glob("*.jpg")]
    by_stem = {path.stem: path for path in paths}
    return lambda stem: read_image(by_stem[stem])


@pytest.fixture(scope="session")
def only_face(vision: Vision) -> Callable[[Pixels], Face]:
    """The face of a picture that shows exactly one."""

    def find(pixels: Pixels) -> Face:
        (face,) = vision.detector.detect(Frame(pixels, 0, 0))
        return face

    return find
