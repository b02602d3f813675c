#!/usr/bin/env python3
"""Explain why a face is or is not recognised as a person; see `threshold explain --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("explain")
