"""A desktop tool as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TOOLS = Path(__file__).parents[2] / "tools"


def refusal_of(tool: str, words: list[str], folder: Path) -> str:
    """The one line with which a tool, run in a folder, refuses what it cannot use."""
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
