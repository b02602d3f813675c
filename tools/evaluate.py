#!/usr/bin/env python3
"""Measure recognition on people of your own; see `threshold evaluate --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("evaluate")
