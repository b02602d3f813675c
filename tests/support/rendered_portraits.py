"""The bundled photos as a people folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
from cv2.typing import MatLike

from edge.core.records import BgrImage
from edge.vision.manifest import default_folder, read_manifest

Photo = Callable[[str], BgrImage]
EMBEDDER = read_manifest(default_folder()).models["embedder"].sha256


def put(path: Path, pixels: MatLike) -> None:
    """Store a picture in a new folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def two_people(folder: Path, photo: Photo) -> Path:
    """A people folder of two people with three good photos."""
    put(folder / "obama" / "1.png", photo("obama2"))
    put(folder / "obama" / "2.png", photo("obama3"))
    put(folder / "biden" / "1.png", photo("biden"))
    return folder
