#!/usr/bin/env python3
"""Sign and publish galleries and access rules for all doors of a site; see `threshold sync --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("sync")
