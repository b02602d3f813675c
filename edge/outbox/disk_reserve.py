"""A file that only takes up room, given up when the disk is full, so that there is room to say so."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

RESERVE_BYTES = 1024 * 1024
_SPARE_BYTES = RESERVE_BYTES  # so much must be free besides before it is made anew: not given up and made in turn


class DiskReserve:
    """The file; making this object changes nothing on disk.

    Attributes:
        is_released: whether it was given up, or could not be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_released = False

    def allocate(self) -> bool:
        """Make the file unless it is there or there is no room to spare; returns whether it is there."""
        if not self._path.exists():
            self.is_released = True
            try:
                if shutil.disk_usage(self._path.parent).free < RESERVE_BYTES + _SPARE_BYTES:
                    return False
                self._make()
            except OSError:
                self.release()
                return False
        self.is_released = False
        return True

    def release(self) -> bool:
        """Delete the file; returns whether that made room."""
        self.is_released = True
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False

    def _make(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        finally:
            os.close(descriptor)
