#!/usr/bin/env python3
"""Set a gallery's thresholds from a target false-accept rate; see `threshold calibrate --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("calibrate")
