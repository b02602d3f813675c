"""Photos for measuring: read from folders, and varied into scenes for a detector."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import ImageError, InputError
from edge.core.records import BgrImage

SUFFIXES = (".jpg", ".jpeg", ".png")
SCENE = (480, 640)  # height, width
FEW = 20


def find(folder: Path) -> list[Path]:
    """All photos below a folder, sorted.

    Raises:
        InputError: no such folder, or no photo in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    walk = os.walk(folder, followlinks=True)
    paths = sorted(Path(at, name) for at, _, names in walk for name in names if name.lower().endswith(SUFFIXES))
    if not paths:
        raise InputError(f"{folder}: no photos ({', '.join(SUFFIXES)}) in it or below it")
    return paths


def read(path: Path) -> BgrImage:
    """One photo, uint8 BGR.

    Raises:
        ImageError: it cannot be decoded.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise ImageError(f"{path}: not an image that can be decoded")
    return np.asarray(image, np.uint8)


def scenes(paths: list[Path], count: int, seed: int) -> Iterator[BgrImage]:
    """Door scenes from photos: as they are, and smaller before a sharp or a blurred background; the same for a seed."""
    random = np.random.default_rng(seed)
    height, width = SCENE
    for k in range(count):
        photo = read(paths[k * len(paths) // count % len(paths)])
        background = read(paths[int(random.integers(len(paths)))])
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


def views(paths: list[Path], count: int) -> Iterator[BgrImage]:
    """At most `count` of the photos, evenly spaced; of a few photos so many scenes instead."""
    if len(paths) < FEW:
        yield from scenes(paths, count, seed=2)
        return
    for path in spread(paths, count):
        yield read(path)


def spread(items: list[Path], count: int) -> list[Path]:
    """At most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return items
    return [items[int(k)] for k in np.linspace(0, len(items) - 1, count)]


def people(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Photos by person: the first folder below `root`."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.relative_to(root).parts[0], []).append(path)
    return groups
