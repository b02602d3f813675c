"""Files on a disk that may lose power at any moment."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from edge.core.errors import InputError


def atomic_write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace `path` durably: a reader sees the old content or all of the new one, also after a power cut.

    Args:
        path: of the file.
        content: all of it.
        private: for its owner alone, from the first byte on; otherwise the umask decides.

    Raises:
        OSError: the folder is missing, full or not writable, or `path` is a device, a socket or the like, which a file
            must not take the place of; what was there is untouched.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a folder is refused by the system itself
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    mode = 0o600 if private else 0o666  # less the umask
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:  # names the temporary file, which says nothing to anybody
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):  # a failed write does not say which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_private_folder(path: Path) -> None:
    """Create a folder and its missing parents, readable by their owner alone (0700); existing folders keep their mode.

    For folders that hold faces or templates. Files in them: `atomic_write(..., private=True)`.

    Raises:
        OSError: a folder cannot be created, or `path` is a file.
    """
    for each in (*reversed(path.parents), path):
        each.mkdir(mode=0o700, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Make a file readable by its owner alone (0600) before a library writes to it by name (SQLite, a video writer).

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
    """Find out before long work, not after it, that there is no folder to write its result into.

    Raises:
        InputError: the folder of `path` does not exist.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
