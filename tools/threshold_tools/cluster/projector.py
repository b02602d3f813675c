"""Writes vectors, names and pictures for the embedding projector of TensorBoard."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import ImageError
from edge.core.files import atomic_write, make_private_folder
from edge.core.records import BgrImage, FloatArray
from threshold_tools.cluster.report import person_of
from threshold_tools.reports.page import thumbnail
from threshold_tools.reports.terminal import track

_SPRITE_PX = 8192  # largest picture that the projector loads
_PHOTO_PX = 64
_GREY = 128


def export(out: Path, vectors: FloatArray, paths: Sequence[str], clusters: Sequence[str], folder: Path | None) -> None:
    """Write vectors.tsv, metadata.tsv, projector_config.pbtxt and, if there are photos, sprite.png.

    `tensorboard --logdir OUT` shows them; its page can also load the two .tsv files.

    Args:
        out: folder to write.
        vectors: (N, D) float32.
        paths: N paths of photos, relative to `folder`.
        clusters: N names of clusters.
        folder: folder of the photos, or None.
    """
    make_private_folder(out)
    buffer = io.BytesIO()
    np.savetxt(buffer, vectors, fmt="%.6g", delimiter="\t")
    atomic_write(out / "vectors.tsv", buffer.getvalue(), private=True)
    rows = [
        f"{_cell(path)}\t{_cell(person_of(path))}\t{_cell(name)}\n" for path, name in zip(paths, clusters, strict=True)
    ]
    atomic_write(out / "metadata.tsv", ("photo\tperson\tcluster\n" + "".join(rows)).encode(), private=True)
    settings = ['tensor_name: "faces"', 'tensor_path: "vectors.tsv"', 'metadata_path: "metadata.tsv"']
    if folder is not None:
        size_px = photo_px(len(paths))
        png = cv2.imencode(".png", _sprite(folder, paths, size_px))[1]
        atomic_write(out / "sprite.png", png.tobytes(), private=True)
        settings.append(
            f'sprite {{ image_path: "sprite.png" single_image_dim: {size_px} single_image_dim: {size_px} }}'
        )
    else:
        (out / "sprite.png").unlink(missing_ok=True)  # from an earlier export
    body = "".join(f"  {line}\n" for line in settings)
    atomic_write(out / "projector_config.pbtxt", f"embeddings {{\n{body}}}\n".encode(), private=True)


def photo_px(count: int) -> int:
    """Side of one of `count` pictures in a square sprite, px."""
    return max(min(_PHOTO_PX, _SPRITE_PX // max(math.isqrt(count - 1) + 1, 1)), 1)


def _sprite(folder: Path, paths: Sequence[str], size_px: int) -> BgrImage:
    """All photos in a square grid, row by row, each in the middle of its cell."""
    side = math.isqrt(len(paths) - 1) + 1
    sprite = np.full((side * size_px, side * size_px, 3), _GREY, np.uint8)
    for number, path in enumerate(track(paths, "Drawing photos")):
        try:
            small = thumbnail(folder / path, size_px)
        except ImageError:
            continue
        top = number // side * size_px + (size_px - small.shape[0]) // 2
        left = number % side * size_px + (size_px - small.shape[1]) // 2
        sprite[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sprite


def _cell(text: str) -> str:
    return " ".join(text.split()) if any(each in text for each in "\t\r\n") else text
