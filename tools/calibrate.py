#!/usr/bin/env python3
"""Set a gallery's thresholds for a target rate; see --help."""

from threshold_tools.calibrate.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
