#!/usr/bin/env python3
"""Try the challenge on simulated visitors and attacks; see --help."""

import sys

from threshold_tools.pad.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(lambda: main(["challenge", *sys.argv[1:]]))
