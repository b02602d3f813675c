"""Pieces of HTML pages that need no other file: their head, and photos within them."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2

from edge.core.records import BgrImage
from edge.vision.camera import read_image

HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)
_QUALITY = 85  # of JPEG


def thumbnail(path: Path, size_px: int) -> BgrImage:
    """A photo scaled down to (H, W, 3) uint8 BGR, its longer side `size_px` at most.

    Raises:
        ImageError: the file is not a readable image.
    """
    pixels = read_image(path)
    scale = min(size_px / max(pixels.shape[:2]), 1)
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)


def thumbnail_uri(path: Path, size_px: int) -> str:
    """A photo as an <img> that holds it.

    Raises:
        ImageError: the file is not a readable image.
    """
    jpeg = cv2.imencode(".jpg", thumbnail(path, size_px), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return img_tag(jpeg, path.name)


def img_tag(jpeg: bytes, alternative: str = "") -> str:
    """JPEG bytes as an <img> that holds them."""
    coded = base64.b64encode(jpeg).decode()
    return f'<img alt="{html.escape(alternative, quote=True)}" src="data:image/jpeg;base64,{coded}">'
