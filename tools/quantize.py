#!/usr/bin/env python3
"""Make the int8 models in models/ from their float originals, or check them; see `threshold quantize --help`."""

from __future__ import annotations

from threshold_tools.cli import run

if __name__ == "__main__":
    run("quantize")
