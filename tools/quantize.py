#!/usr/bin/env python3
"""Make the int8 models in models/ from their float originals, or check them; see --help."""

from threshold_tools.quantize.cli import main

from edge.core.cli_support import run_main

if __name__ == "__main__":
    run_main(main)
