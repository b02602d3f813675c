"""Durable writes, private files and secure deletion; safe against power cuts."""

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
    """Replace a file durably: readers see the old content or all of the new content, also after a power cut.

    Args:
        path: the file.
        content: its whole content.
        private: whether only the owner can read it, from the first byte on; else the umask applies.

    Raises:
        OSError: the folder is missing, full or not writable, or `path` is a device, a socket or another special file;
            the old content is unchanged.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # for a folder the system call fails
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    mode = 0o600 if private else 0o666  # reduced by the umask
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:  # it names the temporary file, which the caller does not know
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):  # an error of write has no file name
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
    """Overwrite an open file with zeros, durably; best effort on flash memory, which remaps blocks."""
    left = os.fstat(file.fileno()).st_size
    file.seek(0)
    while left > 0:
        left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
    file.flush()
    os.fsync(file.fileno())


def secure_delete(path: Path) -> None:
    """Overwrite and delete a file, or a folder with its files; does nothing if it does not exist."""
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
    """Create a folder and its missing parents with mode 0700; existing folders keep their mode.

    Use it for folders of faces or templates, and `atomic_write(..., private=True)` for their files.

    Raises:
        OSError: a folder cannot be created, or `path` is a file.
    """
    for each in (*reversed(path.parents), path):
        each.mkdir(mode=0o700, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Set the mode of a file to 0600 before a library writes to it by name (SQLite, a video writer).

    A missing file is created empty; the content of an existing file is kept. Devices and pipes are not changed.

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
    """Capture standard error of C code; yields a function that returns the captured text."""
    sys.stderr.flush()
    with os.fdopen(os.memfd_create("stderr"), "w+b") as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield lambda: (kept.seek(0), kept.read().decode(errors="replace").strip())[1]
        finally:
            os.dup2(saved, 2)
            os.close(saved)
