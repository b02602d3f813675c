"""Checks of output file names, made before the long work."""

from __future__ import annotations

from pathlib import Path

from edge.core.errors import InputError

GALLERY_SUFFIX = ".safetensors"


def need_gallery_name(path: Path) -> None:
    """Reject writing a gallery under the suffix of another kind of file, such as .npz, which holds vectors.

    Raises:
        InputError: the name has another suffix; no suffix at all is accepted.
    """
    if path.suffix.lower() not in ("", GALLERY_SUFFIX):
        raise InputError(f"{path}: a gallery needs a name that ends in {GALLERY_SUFFIX}, not in {path.suffix}")
