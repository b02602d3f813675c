"""Embed every photo below a folder, through exactly the stages that run at a door.

Each photo is embedded together with its mirror image, as enrolment takes photos and as a door's samples alternate.

Writes an .npz with `path` (N,) text, relative to the folder and sorted; `embedding` (N, D) float32, the unit vector of
each photo's main (largest, most central) face, zeros where none was found; `found` (N,) bool; and `embedder_sha256`,
the model that the vectors belong to. Squared Euclidean distance between rows: lower is nearer, 0 to 4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.core.files import require_parent_dir
from threshold_tools.embeddings import embed_photos, save_embeddings


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, embed the photos and save the embeddings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of photos, searched to any depth")
    parser.add_argument("--out", type=Path, required=True, metavar="X.npz", help="file to write")
    parser.add_argument("--plain", action="store_true", help="leave the mirror images out, as in a single sample")
    arguments = parser.parse_args(argv)
    require_parent_dir(arguments.out)
    embeddings = embed_photos(arguments.folder, mirror=not arguments.plain)
    save_embeddings(arguments.out, embeddings)
    print(f"{arguments.out}: {int(embeddings.found.sum())} of {len(embeddings)} photos embedded", file=sys.stderr)
