#!/usr/bin/env python3
"""Embed every photo below a folder; see `threshold embed --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("embed")
