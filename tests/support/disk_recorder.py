"""Records in which order files become durable."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest


class Disk:
    """Records new names and synced folders and files, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, Path]] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, functools.partial(self.rename, getattr(os, name)))

    def fsync(self, descriptor: int) -> None:
        self.steps.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        self._fsync(descriptor)

    def rename(self, genuine: Callable[[Path, Path], None], old: Path, new: Path) -> None:
        self.steps.append(("name", Path(new)))
        genuine(old, new)

    def named(self, folder: Path) -> list[str]:
        """Return the new names below a folder, in order."""
        return [str(path.relative_to(folder)) for step, path in self.steps if step == "name" and folder in path.parents]
