#!/usr/bin/env python3
"""Measure presentation attack detection on clips; see `threshold pad evaluate --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("pad", "evaluate")
