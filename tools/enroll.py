#!/usr/bin/env python3
"""Make a gallery from a folder of photos; see `threshold enroll --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("enroll")
