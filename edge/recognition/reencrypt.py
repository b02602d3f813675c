"""Encrypts gallery files in place, and decrypts them again."""

from __future__ import annotations

import os
from pathlib import Path

from edge.core.errors import GalleryError
from edge.core.files import atomic_write, overwrite
from edge.recognition.encryption import GalleryKey, decrypt_if_needed, encrypt, is_encrypted


def reencrypt(paths: list[Path], key: GalleryKey, *, undo: bool = False) -> list[Path]:
    """Encrypt galleries in place, or decrypt them; returns those that changed.

    The old content is overwritten, as far as the file system does that in place. The owner stays.

    Raises:
        GalleryError: a gallery cannot be read, was encrypted with another key, or is too large.
    """
    return [path for path in paths if _change(path, key, undo)]


def _change(path: Path, key: GalleryKey, undo: bool) -> bool:
    try:
        content = path.read_bytes()
        owner = path.stat()
    except OSError as error:
        raise GalleryError(f"{path}: cannot be read ({error.strerror})") from error
    if is_encrypted(content) is not undo:
        return False
    changed = decrypt_if_needed(content, key, path) if undo else encrypt(content, key, path)
    with path.open("r+b") as old:
        atomic_write(path, changed, private=True)
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        overwrite(old)
    return True
