"""A file that only takes up room, given up when the disk is full, so that there is room to say so."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

SIZE_BYTES = 1024 * 1024
_SPARE_BYTES = SIZE_BYTES  # so much must be free besides before it is made anew: not given up and made in turn


class Ballast:
    """The file; making this object changes nothing on disk.

    Attributes:
        missing: whether it was given up, or could not be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.missing = False

    def restore(self) -> bool:
        """Make the file unless it is there or there is no room to spare; returns whether it is there."""
        if not self._path.exists():
            self.missing = True
            try:
                if shutil.disk_usage(self._path.parent).free < SIZE_BYTES + _SPARE_BYTES:
                    return False
                self._make()
            except OSError:
                self.give_up()
                return False
        self.missing = False
        return True

    def give_up(self) -> bool:
        """Delete the file; returns whether that made room."""
        self.missing = True
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False

    def _make(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE_BYTES)
        finally:
            os.close(descriptor)
