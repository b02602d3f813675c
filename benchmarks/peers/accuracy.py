"""Error rates of several programs on the same photos, by the protocols of threshold evaluate."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import verification
from threshold_tools.evaluate.cross_validation import ten_fold
from threshold_tools.photos import photos_in
from tqdm import tqdm

from edge.core.errors import ImageError, InputError
from edge.core.records import FloatArray
from edge.vision.images import read_image
from peers.peer import Baseline
from peers.report import Accuracy, Tar

FMRS = (1e-3, 1e-4)
MOST = 5  # photos of one person, so that people with many photos do not dominate
_SPHERE = 0.2  # length of the longest vector on the unit sphere; see `normalize`
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Vectors of the photos from one program.

    Attributes:
        photos: unit vectors whose distances have the order of the program's own distances.
        cpu_ms: median processor time of one photo.
    """

    photos: LabelledEmbeddings
    cpu_ms: float


def draw(folder: Path, limit: int, seed: int) -> list[Path]:
    """Draw at most `limit` photos, at most five per person; people with several photos come first.

    Raises:
        InputError: the folder is missing, contains no photo, or does not contain one folder per person.
    """
    of: dict[str, list[Path]] = {}
    for path in photos_in(folder):
        inside = path.relative_to(folder).parts
        if len(inside) == 1:
            raise InputError(f"{path}: not in the folder of a person; expected {folder}/<person>/*.jpg")
        of.setdefault(inside[0], []).append(path)
    rng = np.random.default_rng(seed)
    people = [list(of)[place] for place in rng.permutation(len(of))]
    people.sort(key=lambda person: len(of[person]) == 1)
    drawn: list[Path] = []
    for person in people:
        drawn += [of[person][place] for place in rng.permutation(len(of[person]))[:MOST]]
    return sorted(drawn[:limit])


def embed(peers: Mapping[str, Baseline], folder: Path, paths: Sequence[Path]) -> dict[str, Embedded]:
    """Embed every photo with every program; an unreadable photo is reported and left out.

    Raises:
        InputError: no photo can be read.
    """
    names: list[str] = []
    vectors: dict[str, list[FloatArray | None]] = {name: [] for name in peers}
    laps: dict[str, list[int]] = {name: [] for name in peers}
    for path in tqdm(paths, desc="accuracy", unit=" photos", disable=None):
        try:
            pixels = read_image(path)
        except ImageError as error:
            tqdm.write(str(error), file=sys.stderr)
            continue
        names.append(path.relative_to(folder).as_posix())
        for name, peer in peers.items():
            began_ns = time.process_time_ns()
            vectors[name].append(peer.detect_and_embed(pixels))
            laps[name].append(time.process_time_ns() - began_ns)
    if not names:
        raise InputError(f"{folder}: no photo can be read")
    return {
        name: Embedded(_photos(vectors[name], names, name), round(float(np.median(laps[name])) / 1e6, 2))
        for name in peers
    }


def measure(name: str, embedded: Embedded, seed: int) -> Accuracy:
    """Return the error rates of one program; rates that need more photos are left out."""
    photos = embedded.photos
    folds = ten_fold(photos, None, seed) if photos.found.any() else None
    swept = verification.sweep(photos)
    rows = {row.fmr: row for row in swept.result().at} if swept else {}
    return Accuracy(
        name=name,
        cpu_ms=embedded.cpu_ms,
        failures=int((~photos.found).sum()),
        ten_fold=folds.accuracy.mean if folds else None,
        ten_fold_with_failures=folds.with_failures.mean if folds else None,
        eer_with_failures=swept.eer(failures=True) if swept else None,
        mated=swept.mated if swept else 0,
        tar=[Tar(fmr, rows[fmr].tar, rows[fmr].tar_with_failures) for fmr in FMRS if fmr in rows],
    )


def normalize(vectors: FloatArray, found: NDArray[np.bool_]) -> FloatArray:
    """Map rows of any length to unit rows whose Euclidean distances have the same order.

    A small cap of a sphere is nearly flat: rows v become (sv, sqrt(1 - |sv|^2)) with a small s, so that the last
    component hardly differs. Rows that have unit length are unchanged; rows that are not found are zeros.

    Args:
        vectors: (N, D) float32.
        found: (N,) bool, rows with a face.

    Returns:
        (N, D) or (N, D + 1) float32.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not found.any() or np.all(np.abs(lengths[found] - 1) < _UNIT_TOLERANCE):
        return vectors
    scale = _SPHERE / lengths[found].max()
    lifted = np.concatenate([vectors * scale, np.sqrt(1 - np.minimum(lengths * scale, 1) ** 2)[:, None]], axis=1)
    return np.asarray(np.where(found[:, None], lifted, 0), np.float32)


def _photos(vectors: Sequence[FloatArray | None], names: list[str], made_by: str) -> LabelledEmbeddings:
    found = np.array([vector is not None for vector in vectors])
    size = next((len(vector) for vector in vectors if vector is not None), 1)
    rows = np.zeros((len(vectors), size), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        if vector is not None:
            row[:] = vector
    return LabelledEmbeddings(normalize(rows, found), found, names, made_by)
