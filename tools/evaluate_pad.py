#!/usr/bin/env python3
"""Measure presentation attack detection on clips; see --help."""

import sys

from threshold_tools.pad.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(lambda: main(["evaluate", *sys.argv[1:]]))
