#!/usr/bin/env python3
"""Make simulated presentation attacks from clips of real people; see --help."""

import sys

from threshold_tools.pad.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(lambda: main(["clips", *sys.argv[1:]]))
