"""Whoever imports this first needs the packages of the desktop extra; when they are missing, one line says so."""

from __future__ import annotations

import importlib.util
import sys

_PACKAGES = ("ai_edge_quantizer", "flatbuffers", "matplotlib", "rich", "scipy", "threadpoolctl", "tomli_w")

missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
if missing:
    needed = ", ".join(missing)
    sys.stderr.write(f"error: this needs {needed}; run: pip install -e '.[desktop]' in Threshold's folder\n")
    raise SystemExit(2)
