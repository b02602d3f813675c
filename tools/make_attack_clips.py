#!/usr/bin/env python3
"""Make simulated presentation attacks from clips of real people; see `threshold pad clips --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("pad", "clips")
