#!/usr/bin/env python3
"""Group photos of unknown visitors by the person they seem to show; see --help."""

from threshold_tools.cluster.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
