#!/usr/bin/env python3
"""Embed every photo below a folder; see --help."""

from threshold_tools.embed import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
