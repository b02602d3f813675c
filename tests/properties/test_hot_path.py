"""Memory per frame: the buffers of pictures are allocated once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest

from edge.core.config import DoorConfig, MotionConfig, RecognitionConfig
from edge.core.records import BgrImage, Frame
from edge.demo.run_demo import GALLERY
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.vision.face_sampler import VisionStages

FRAME_NS = 66_666_667
LARGEST = 64_000  # bytes; a 640x480 frame has 921,600, the smallest model's input 37,632


@pytest.fixture
def door(watching: VisionStages) -> Pipeline:
    """Configuration in which every stage runs in every frame."""
    verdict = RecognitionConfig(sample_every_s=0.0, recheck_every_s=1e-9)
    config = DoorConfig(site="s", door="d", motion=MotionConfig(enabled=False), recognition=verdict)
    return Pipeline(config, watching, load_gallery(GALLERY, watching.reader.embedder.sha256))


def peak_bytes(step: Callable[[], object]) -> int:
    """Return the largest additional memory of Python and numpy during a step."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


@pytest.mark.parametrize("visitor", [True, False])
def test_no_copy_or_conversion_of_a_frame(door: Pipeline, photo: Callable[[str], BgrImage], visitor: bool) -> None:
    """In searches, close searches, samples and rechecks; the stages assert that OpenCV uses their buffers."""
    room = np.full((480, 640, 3), 128, np.uint8)
    if visitor:
        room[:, 200:520] = cv2.resize(photo("biden"), (320, 480))
    for number in range(20):
        door.step(Frame(room, number, number * FRAME_NS))
    assert bool(door.samples) is visitor
    peaks = [peak_bytes(partial(door.step, Frame(room, n, n * FRAME_NS))) for n in range(20, 40)]
    assert max(peaks) < LARGEST
