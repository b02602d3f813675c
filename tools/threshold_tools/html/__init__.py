"""HTML pages that need no other file, and text reports: templates beside this module, pictures as data URIs."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edge.core.errors import ImageError
from edge.core.records import BgrImage
from edge.runtime.snapshots import downscale
from edge.vision.images import read_image

_QUALITY = 85  # of JPEG
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=lambda name: name is None or not name.endswith(".txt"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **context: object) -> str:
    """Render a template such as "evaluate.html"; in HTML, everything in the context is escaped."""
    return _TEMPLATES.get_template(template).render(context)


def thumbnail(path: Path, size_px: int) -> BgrImage:
    """A photo scaled down to (H, W, 3) uint8 BGR, its longer side `size_px` at most.

    Raises:
        ImageError: the file is not a readable image.
    """
    return downscale(read_image(path), size_px)


def thumbnail_uri(path: Path, size_px: int) -> str:
    """A scaled-down photo as a data URI; "" where the file is not a readable image."""
    try:
        return picture_uri(thumbnail(path, size_px))
    except ImageError:
        return ""


def picture_uri(picture: BgrImage) -> str:
    """(H, W, 3) uint8 BGR pixels as the data URI of a JPEG."""
    return data_uri(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())


def data_uri(content: bytes, kind: str = "image/jpeg") -> str:
    """A file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
