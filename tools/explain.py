#!/usr/bin/env python3
"""Explain why a face is or is not recognised as a person; see --help."""

from threshold_tools.explain.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
