"""HTML pages that need no other file: templates, pictures as data URIs, plots as inline SVG."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from edge.core.errors import ImageError
from edge.core.files import atomic_write
from edge.core.records import BgrImage
from edge.runtime.snapshots import downscale
from edge.vision.images import read_image

_QUALITY = 85  # of JPEG
_FOLDER = Path(__file__).with_name("templates")
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def _with_code(text: str) -> Markup:
    """Text with `commands` between backticks, as HTML; a percent sign stays on the line of its number."""
    parts = [escape(part) for part in text.replace(" %", "\N{NO-BREAK SPACE}%").split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if row % 2 else part for row, part in enumerate(parts)
    )


_TEMPLATES.filters["code"] = _with_code


def render(template: str, **context: object) -> str:
    """Render a template such as "cluster.html"; everything in the context is escaped.

    The page loads nothing, and its content security policy allows only the script of the plots.
    """
    script = (_FOLDER / "report.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    styles = (_FOLDER / "report.css").read_text()
    return _TEMPLATES.get_template(template).render(
        context, script=Markup(script), script_sha256=digest, styles=Markup(styles)
    )


def write_page(path: Path, page: str) -> None:
    """Write a page that only its owner may read (0600), because it may show faces, and report it on standard error.

    Raises:
        OSError: the file cannot be written.
    """
    atomic_write(path, page.encode(), private=True)
    print(f"{path}: page written", file=sys.stderr)


def thumbnail(path: Path, size_px: int) -> BgrImage:
    """A photo scaled down to (H, W, 3) uint8 BGR, its longer side at most `size_px`.

    Raises:
        ImageError: the file is not a readable image.
    """
    return downscale(read_image(path), size_px)


def thumbnail_uri(path: Path, size_px: int) -> str:
    """A scaled-down photo as a data URI; "" if the file is not a readable image."""
    try:
        return picture_uri(thumbnail(path, size_px))
    except ImageError:
        return ""


def picture_uri(picture: BgrImage) -> str:
    """(H, W, 3) uint8 BGR pixels as the data URI of a JPEG."""
    return data_uri(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())


def data_uri(content: bytes, kind: str = "image/jpeg") -> str:
    """The content of a file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
