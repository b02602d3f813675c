"""Distances between strangers, and the table of the embedder's manifest that thresholds are made from."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
from tqdm import tqdm

from edge.core.errors import InputError
from edge.core.records import BgrImage, FloatArray
from edge.vision.images import read_image
from edge.vision.manifest import OperatingPoint
from threshold_tools.photos import normalize
from threshold_tools.quantize.calibration_data import CalibrationData
from threshold_tools.quantize.recipe import RECIPES
from threshold_tools.quantize.runner import IntegerRunner
from threshold_tools.quantize.stages import Cropper

RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ENROLLED = 3  # photos in a centroid
MIN_COUNT = 10  # pairs below a distance for it to be counted rather than fitted
_NORMAL = NormalDist()


def with_impostors(
    measured: CalibrationData, faces: Path, paths: list[Path], folder: Path, embedder: bytes
) -> CalibrationData:
    """The same with the distances between strangers and the length of raw vectors, found with the int8 models.

    A centroid is the normalised mean over up to three photos of a person and their mirror images; a probe is one photo
    of another person.

    Args:
        measured: of the embedder.
        faces: folder of one folder for each person.
        paths: of the photos below it.
        folder: holds the int8 detector and mesh.
        embedder: the int8 file.
    """
    runner = IntegerRunner(embedder)
    others = {n: IntegerRunner((folder / RECIPES[n].file).read_bytes()) for n in ("detector-far", "landmarks")}
    cropper = Cropper({**others, "embedder": runner})
    crops: dict[str, list[BgrImage]] = {}
    for path in tqdm(paths, desc="strangers: faces", disable=None, leave=False):
        crop = cropper.crop(read_image(path))
        if crop is not None:
            crops.setdefault(path.relative_to(faces).parts[0], []).append(crop.face)
    lengths: list[float] = []

    def embed(face: BgrImage) -> FloatArray:
        vector = runner(face)["embedding"].ravel()
        lengths.append(float(np.linalg.norm(vector)))
        return normalize(vector)

    probes, owners, centroids = [], [], []
    for number, of_person in enumerate(tqdm(crops.values(), desc="strangers: vectors", disable=None, leave=False)):
        straight = [embed(face) for face in of_person]
        mirrored = [embed(np.ascontiguousarray(face[:, ::-1])) for face in of_person[:ENROLLED]]
        centroids.append(normalize(np.sum(straight[:ENROLLED] + mirrored, axis=0)))
        probes += straight
        owners += [number] * len(straight)
    distances = 2 - 2 * np.stack(probes) @ np.stack(centroids).T
    strangers = np.array(owners)[:, None] != np.arange(len(centroids))
    return msgspec.structs.replace(
        measured,
        impostors=impostor_table(np.sort(distances[strangers])),
        typical_length=round(float(np.median(lengths)), 1),
    )


def impostor_table(distances: FloatArray) -> tuple[OperatingPoint, ...]:
    """Squared distances at which given shares of strangers pass as somebody else.

    Each is the smaller of the counted quantile and the one of a normal distribution fitted to the nearest hundredth of
    all pairs, rounded down; too few pairs to count leave the fitted one.

    Args:
        distances: (N,) sorted squared distances between a photo and the centroid of another person.

    Raises:
        InputError: too few pairs.
    """
    anchors = np.array([1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
    anchors = anchors[anchors * distances.size >= MIN_COUNT]
    if len(anchors) < 2:
        raise InputError(f"{distances.size} pairs of strangers: photos of more people are needed, best some thousand")
    slope, offset = np.polyfit(
        np.array([_NORMAL.inv_cdf(rate) for rate in anchors]), np.quantile(distances, anchors), 1
    )
    rows = []
    for rate in RATES:
        fitted = slope * _NORMAL.inv_cdf(rate) + offset
        counted = float(np.quantile(distances, rate)) if rate * distances.size >= MIN_COUNT else fitted
        rows.append(OperatingPoint(rate, math.floor(100 * min(fitted, counted)) / 100))
    return tuple(rows)
