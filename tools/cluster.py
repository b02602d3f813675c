#!/usr/bin/env python3
"""Group photos of unknown people; see `threshold cluster --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("cluster")
