#!/usr/bin/env python3
"""Sign and publish models for all doors of a site; see `threshold push --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("push")
