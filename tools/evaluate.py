#!/usr/bin/env python3
"""Measure recognition on people of your own; see --help."""

from threshold_tools.evaluate.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
