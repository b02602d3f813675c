"""Writes files that are generated from the code, or checks that they are up to date."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from edge.core.errors import ExpectationError
from edge.core.files import atomic_write


def write_or_check(files: Mapping[Path, str], *, check: bool, program: str) -> None:
    """Write the files, or only compare them with what is on the disk.

    Args:
        files: content by path.
        check: compare, write nothing.
        program: script that writes the files, for the error.

    Raises:
        ExpectationError: with `check`, a file is missing or has another content.
    """
    for path, content in files.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content.encode())
            print(f"{path}: written", file=sys.stderr)
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            raise ExpectationError(f"{path}: out of date; run {program}")
