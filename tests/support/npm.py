"""npm packages for tests that need Node, downloaded once into build/npm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "build" / "npm"


def packages(*wanted: str) -> Path:
    """Return the folder whose node_modules contain these packages (mqtt@5); skips the test without node or npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [each for each in wanted if not (FOLDER / "node_modules" / each.rpartition("@")[0]).exists()]
    if missing:
        options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER)]
        done = subprocess.run(["npm", "install", *options, *missing], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm does not give {', '.join(missing)}: {done.stderr.strip()[-200:]}")
    return FOLDER
