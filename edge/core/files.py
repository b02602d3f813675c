"""Durable, private and deleted files on a disk that may lose power at any moment."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edge.core.errors import InputError

_ZEROS = bytes(65536)


def atomic_write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace `path` durably: a reader sees the old content or all of the new one, also after a power cut.

    Args:
        path: the file.
        content: its whole content.
        private: readable by its owner only, from the first byte on; otherwise the umask decides.

    Raises:
        OSError: the folder is missing, full or not writable, or `path` is a device, a socket or the like, which a file
            must not replace; the old content is untouched.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a folder is refused by the system itself
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    mode = 0o600 if private else 0o666  # less the umask
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:  # names the temporary file, which means nothing to the caller
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):  # a failed write does not name the file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    fsync_dir(path.parent)


def fsync_dir(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def overwrite(file: BinaryIO) -> None:
    """Replace the content of an open file by zeros, durably; a best effort on flash memory, which moves its blocks."""
    left = os.fstat(file.fileno()).st_size
    file.seek(0)
    while left > 0:
        left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
    file.flush()
    os.fsync(file.fileno())


def secure_delete(path: Path) -> None:
    """Overwrite and delete a file, or all files of a folder; nothing if it does not exist."""
    if path.is_dir() and not path.is_symlink():
        for child in list(path.iterdir()):
            secure_delete(child)
        path.rmdir()
        fsync_dir(path.parent)
        return
    with contextlib.suppress(FileNotFoundError):
        if path.is_file() and not path.is_symlink():
            with path.open("r+b") as file:
                overwrite(file)
        path.unlink()
        fsync_dir(path.parent)


def make_private_folder(path: Path) -> None:
    """Create a folder and its missing parents, readable by their owner only (0700); existing folders keep their mode.

    For folders that hold faces or templates. Files in them: `atomic_write(..., private=True)`.

    Raises:
        OSError: a folder cannot be created, or `path` is a file.
    """
    for each in (*reversed(path.parents), path):
        each.mkdir(mode=0o700, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Make a file readable by its owner only (0600) before a library writes to it by name (SQLite, a video writer).

    A missing file is created empty; the content of an existing one is kept. Devices and pipes are left as they are.

    Raises:
        OSError: the file cannot be created, or belongs to another user.
    """
    if path.exists() and not path.is_file():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def require_parent_dir(path: Path) -> None:
    """Fail early if the output directory does not exist.

    Raises:
        InputError: the folder of `path` does not exist.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")


@contextlib.contextmanager
def captured_stderr() -> Iterator[Any]:
    """Keep what C code writes to standard error off the screen; yields a function that returns it."""
    sys.stderr.flush()
    with os.fdopen(os.memfd_create("stderr"), "w+b") as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield lambda: (kept.seek(0), kept.read().decode(errors="replace").strip())[1]
        finally:
            os.dup2(saved, 2)
            os.close(saved)
