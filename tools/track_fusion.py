#!/usr/bin/env python3
"""Measure what the samples of a track are worth; see `threshold lab track-fusion --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("lab", "track-fusion")
