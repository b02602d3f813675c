#!/usr/bin/env python3
"""Embed every photo below a folder, through exactly the stages that run at a door.

Each photo is embedded together with its mirror image, as enrolment takes photos and as a door's samples come by turns.

Writes an .npz with `path` (N,) text, relative to the folder and sorted; `embedding` (N, D) float32, the unit vector of
each photo's main (largest, most central) face, zeros where none was found; `found` (N,) bool; and `embedder_sha256`,
the model that the vectors belong to. Squared Euclidean distance between rows: lower is nearer, 0 to 4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from threshold_tools.embeddings import embed_photos, save_embeddings

from edge.core.cli_support import run_main
from edge.core.errors import InputError


def embed(folder: Path, out: Path, *, mirror: bool) -> None:
    """Embed all photos below `folder` into `out`."""
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    vectors = embed_photos(folder, mirror=mirror)
    save_embeddings(out, vectors)
    print(f"{out}: {int(vectors.found.sum())} of {len(vectors.paths)} photos embedded", file=sys.stderr)


def main() -> None:
    """Parse the command line and embed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of photos, searched to any depth")
    parser.add_argument("--out", type=Path, required=True, metavar="X.npz", help="file to write")
    parser.add_argument(
        "--plain", action="store_true", help="leave the mirror images out: what a single sample is worth"
    )
    arguments = parser.parse_args()
    embed(arguments.folder, arguments.out, mirror=not arguments.plain)


if __name__ == "__main__":
    run_main(main)
