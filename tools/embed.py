#!/usr/bin/env python3
"""Embed every photo below a folder, through exactly the stages that run at a door.

Writes an .npz with `path` (N,) text, relative to the folder and sorted; `embedding` (N, D) float32, the unit vector of
each photo's main (largest, most central) face, zeros where none was found; `found` (N,) bool; and `embedder_sha256`,
the model that the vectors belong to. Squared Euclidean distance between rows: lower is nearer, 0 to 4.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from photos import ANY_QUALITY, PhotoReader, photos_in
from tqdm import tqdm

from edge.errors import ImageError, InputError
from edge.files import replace_file
from edge.program import run


def embed(folder: Path, out: Path) -> None:
    """Embed all photos below `folder` into `out`; an unreadable photo is reported and counts as not found."""
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    paths = photos_in(folder)
    reader = PhotoReader(ANY_QUALITY)
    embeddings = np.zeros((len(paths), reader.dimension), np.float32)
    found = np.zeros(len(paths), bool)
    for row, path in enumerate(tqdm(paths, desc="embed", unit=" photos", disable=None)):
        try:
            sample = reader.look(path).sample
        except ImageError as error:
            tqdm.write(str(error), file=sys.stderr)
            continue
        if sample is not None and sample.embedding is not None:
            embeddings[row] = sample.embedding
            found[row] = True
    buffer = io.BytesIO()
    relative = np.array([path.relative_to(folder).as_posix() for path in paths])
    np.savez(buffer, path=relative, embedding=embeddings, found=found, embedder_sha256=reader.embedder_sha256)
    replace_file(out, buffer.getvalue())
    print(f"{out}: {int(found.sum())} of {len(paths)} photos embedded", file=sys.stderr)


def main() -> None:
    """Parse the command line and embed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of photos, searched to any depth")
    parser.add_argument("--out", type=Path, required=True, metavar="X.npz", help="file to write")
    arguments = parser.parse_args()
    embed(arguments.folder, arguments.out)


if __name__ == "__main__":
    run(main)
