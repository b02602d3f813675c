"""Desktop tools without the packages of their extra: one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def test_a_missing_package_is_named_with_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['scipy'] = None; from threshold_tools import desktop"],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: this needs scipy; run: pip install -e '.[desktop]' in Threshold's folder\n"


def test_with_all_packages_nothing_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import threshold_tools.desktop"], cwd=TOOLS, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
