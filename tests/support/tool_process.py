"""Runs desktop tools like a user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TOOLS = Path(__file__).parents[2] / "tools"


def refusal_of(tool: str, words: list[str], folder: Path) -> str:
    """Run a tool in a folder; returns its one-line error."""
    done = subprocess.run(
        [sys.executable, str(_TOOLS / tool), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    return line
