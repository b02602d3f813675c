"""Pictures to calibrate and compare models on: what each model sees of face photos, and door scenes made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from edge.core.records import BgrImage
from edge.vision.images import read_image
from threshold_tools.quantize.recipe import Recipe
from threshold_tools.quantize.runner import FloatRunner
from threshold_tools.quantize.stages import Cropper, SubjectFinder

SCENE = (480, 640)  # height, width
FEW = 20  # photos; of fewer, scenes are made


def model_inputs(
    recipe: Recipe, paths: list[Path], floats: Mapping[str, FloatRunner], count: int
) -> Iterator[BgrImage]:
    """What a model sees of at most `count` photos: whole scenes, mesh crops or aligned faces, uint8 BGR.

    Args:
        recipe: of the model.
        paths: of the photos.
        floats: float form of every model; they find the faces.
        count: number of pictures to take; photos without a face give none.
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
    """Door scenes from photos: as they are, and smaller before a sharp or a blurred background; the same for a seed."""
    random = np.random.default_rng(seed)
    height, width = SCENE
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
    """At most `count` of the photos, evenly spaced; of a few photos that many scenes instead."""
    if len(paths) < FEW:
        yield from scenes(paths, count, seed=2)
        return
    places = range(len(paths)) if len(paths) <= count else np.linspace(0, len(paths) - 1, count).astype(int)
    yield from (read_image(paths[place]) for place in places)
