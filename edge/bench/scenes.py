"""Test scenes cut from the bundled clip: nobody, one enrolled person, and two people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.config import DetectorConfig, ModelsConfig
from edge.core.records import BgrImage, Box, Face, Frame
from edge.demo.run_demo import CLIP
from edge.vision.camera_file import VideoFileCamera
from edge.vision.detector import Detector
from edge.vision.tflite import TfliteModel

FPS = 15
FRAME_NS = round(1e9 / FPS)
_NOISE_LEVELS = 1.5  # noise of a camera by day, standard deviation in grey levels
_PATCH_PX = 96  # side of the square that moves through the empty scene
_SWAY_PX = 24
_KEPT = 15  # different pictures of one scene, repeated


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """Pictures, (480, 640, 3) uint8 BGR; one or several for each scene."""

    face: BgrImage  # the enrolled person
    nobody: BgrImage  # the empty scene
    still: Sequence[BgrImage]  # the empty scene with camera noise
    still_face: Sequence[BgrImage]  # the enrolled person, motionless, with camera noise
    moving: Sequence[BgrImage]  # the empty scene with a moving object
    busy: Sequence[BgrImage]  # the enrolled person and a stranger, swaying


def scenes(models: ModelsConfig) -> Scenes:
    """Cut the scenes from the bundled clip, by the detections of this detector."""
    nobody, faces = _clip(Detector(TfliteModel(f"detector-{models.detector}", models), DetectorConfig()))
    enrolled, stranger = (_largest(faces[: len(faces) // 2]), _largest(faces[len(faces) // 2 :]))
    pair = np.hstack([_half(*enrolled), _half(*stranger)])
    return Scenes(
        face=enrolled[0],
        nobody=nobody,
        still=_noisy(nobody),
        still_face=_noisy(enrolled[0]),
        moving=[_passing(nobody, number) for number in range(_KEPT)],
        busy=[
            np.ascontiguousarray(np.roll(pair, round(_SWAY_PX * np.sin(2 * np.pi * number / _KEPT)), axis=1))
            for number in range(_KEPT)
        ],
    )


def loop_frames(pictures: Sequence[BgrImage], start: int = 0) -> Iterator[Frame]:
    """Repeat the pictures endlessly as frames at `FPS`; `start` is the number of the first frame."""
    number = start
    while True:
        yield Frame(pictures[number % len(pictures)], number, number * FRAME_NS)
        number += 1


def _clip(detector: Detector) -> tuple[BgrImage, list[tuple[BgrImage, Box]]]:
    """The first picture without a face, and all pictures with one face, in order of time."""
    nobody: BgrImage | None = None
    faces: list[tuple[BgrImage, Box]] = []
    with VideoFileCamera(CLIP) as clip:
        for frame in clip:
            found: list[Face] = detector.detect(frame)
            if not found and nobody is None:
                nobody = frame.pixels.copy()
            if len(found) == 1 and frame.seq % 3 == 0:
                faces.append((frame.pixels.copy(), found[0].box))
    assert nobody is not None, "the bundled clip begins empty"
    assert faces, "the bundled clip shows faces"
    return nobody, faces


def _largest(faces: Sequence[tuple[BgrImage, Box]]) -> tuple[BgrImage, Box]:
    return max(faces, key=lambda each: each[1].area)


def _half(picture: BgrImage, box: Box) -> BgrImage:
    """Half of a picture with the face in its middle."""
    width = picture.shape[1]
    return np.roll(picture, round(width / 4 - box.centre[0]), axis=1)[:, : width // 2]


def _noisy(picture: BgrImage) -> list[BgrImage]:
    random = np.random.default_rng(0)
    return [
        np.clip(picture + random.normal(0, _NOISE_LEVELS, picture.shape), 0, 255).astype(np.uint8) for _ in range(_KEPT)
    ]


def _passing(picture: BgrImage, number: int) -> BgrImage:
    """A dark square moves through the picture."""
    copy = picture.copy()
    left = (picture.shape[1] - _PATCH_PX) * number // _KEPT
    copy[-_PATCH_PX:, left : left + _PATCH_PX] //= 3
    return copy
