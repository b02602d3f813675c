"""Compute the vector of the main face of every photo in a folder, with the stages of a door.

Each photo is embedded together with its mirror image, as in enrolment and at a door, where samples alternate. The main
face is the largest, most central one.

The .npz file contains four arrays. The paths (`path`, (N,) text) are sorted and relative to the folder. The vectors
(`embedding`, (N, D) float32) have unit length, or are zeros if no face was found (`found`, (N,) bool). The hash of the
model (`embedder_sha256`) must match that of the gallery. The squared Euclidean distance between rows is 0 to 4; lower
is nearer.
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
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of photos, including subfolders")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (.npz)")
    parser.add_argument(
        "--plain", action="store_true", help="do not use mirror images, as in a single sample of a door"
    )
    arguments = parser.parse_args(argv)
    require_parent_dir(arguments.out)
    embeddings = embed_photos(arguments.folder, mirror=not arguments.plain)
    save_embeddings(arguments.out, embeddings)
    print(f"{arguments.out}: {int(embeddings.found.sum())} of {len(embeddings)} photos embedded", file=sys.stderr)
