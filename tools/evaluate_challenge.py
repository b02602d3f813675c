#!/usr/bin/env python3
"""Try the challenge on simulated visitors and attacks; see `threshold pad challenge --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("pad", "challenge")
