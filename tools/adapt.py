#!/usr/bin/env python3
"""Learn a linear head on the embedder's vectors; see `threshold lab adapt --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("lab", "adapt")
