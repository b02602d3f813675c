#!/usr/bin/env python3
"""Show all doors on a web page; see `threshold monitor --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("monitor")
