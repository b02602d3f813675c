"""Measures the data of a recipe on face photos: factors, ranges, centres, corrections, distances between strangers."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np

from edge.core.errors import InputError
from edge.core.records import BgrImage, FloatArray
from edge.vision.images import read_image
from edge.vision.manifest import OperatingPoint
from threshold_tools.photos import normalize
from threshold_tools.quantize.equalize import plan
from threshold_tools.quantize.graph import Array, Graph
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.recipe import RECIPES, CalibrationData, Recipe
from threshold_tools.quantize.runner import ModelRunner, float_runner
from threshold_tools.quantize.stages import Cropper
from threshold_tools.reports.terminal import track

HEADROOM = 0.3  # 0: the range of a tensor is the mean of its extremes over the pictures; 1: the overall extremes
_RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_ENROLLED = 3  # photos in a centroid
_MIN_COUNT = 10  # pairs below a distance; with fewer, the distance is fitted, not counted
_NORMAL = NormalDist()


def measure(recipe: Recipe, original: bytes, images: list[BgrImage], source: str) -> CalibrationData:
    """Measure the equalization factors, then the ranges of the equalized graph.

    Args:
        recipe: recipe of the model.
        original: float file.
        images: inputs of the model, uint8 BGR.
        source: origin of the pictures, for people.
    """
    graph = recipe.fold(original)
    watching = float_runner(graph, recipe.image_range, watch=True)
    magnitudes: dict[str, Array] = {}
    seen: dict[str, list[Array]] = {role: [] for role in recipe.centred}
    for image in track(images, f"{recipe.name}: channels"):
        for tensor, values in watching(image).items():
            largest = np.abs(values.reshape(-1, values.shape[-1])).max(axis=0)
            magnitudes[tensor] = np.maximum(magnitudes.get(tensor, largest), largest)
            if tensor in seen:
                seen[tensor].append(values.ravel())
    exponents = plan(graph, magnitudes)
    spans = {role: (np.min(rows, axis=0), np.max(rows, axis=0)) for role, rows in seen.items()}
    centres = {role: np.round((low + high) / 2).astype(int).tolist() for role, (low, high) in spans.items()}
    ranges = _ranges(recipe, recipe.prepare(original, exponents, centres), images)
    measured = CalibrationData(f"{len(images)} pictures from {source}", exponents, ranges, centres)
    return msgspec.structs.replace(measured, corrections=_corrections(recipe, original, measured, images))


def _corrections(
    recipe: Recipe, original: bytes, measured: CalibrationData, images: list[BgrImage]
) -> dict[str, list[float]]:
    """Mean difference of the float outputs to the int8 outputs."""
    if not recipe.corrected:
        return {}
    floating = recipe.float_runner(original)
    integer = ModelRunner(recipe.make_int8(original, measured))
    differences: dict[str, list[Array]] = {role: [] for role in recipe.corrected}
    for image in track(images, f"{recipe.name}: corrections"):
        expected, found = floating(image), integer(image)
        for role, rows in differences.items():
            rows.append((expected[role] - found[role]).ravel())
    return {role: [_short(value) for value in np.mean(rows, axis=0)] for role, rows in differences.items()}


def _ranges(recipe: Recipe, graph: Graph, images: list[BgrImage]) -> Ranges:
    """Ranges between the mean extremes of a picture and the overall extremes, by `HEADROOM`."""
    watching = float_runner(graph, recipe.image_range, watch=True)
    extremes: dict[str, list[tuple[float, float]]] = {}
    for image in track(images, f"{recipe.name}: ranges"):
        for tensor, values in watching(image).items():
            extremes.setdefault(tensor, []).append((float(values.min()), float(values.max())))
    tail = {node.output for node in graph.nodes[len(graph.nodes) - recipe.whole_tail :]}
    ranges: Ranges = {}
    for tensor, pairs in extremes.items():
        lows, highs = np.array(pairs).T
        share = 1.0 if tensor in tail else HEADROOM
        low = share * lows.min() + (1 - share) * lows.mean()
        high = share * highs.max() + (1 - share) * highs.mean()
        ranges[tensor] = (_short(low), _short(high))
    return ranges


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def with_impostors(
    measured: CalibrationData, faces: Path, paths: list[Path], folder: Path, embedder: bytes
) -> CalibrationData:
    """Add the distances between strangers and the length of raw vectors, measured with the int8 models.

    A centroid is the normalised mean over up to three photos of a person and their mirror images; a probe is one photo
    of another person.

    Args:
        measured: calibration data of the embedder.
        faces: folder with one folder for each person.
        paths: paths of its photos.
        folder: folder of the int8 detector and mesh.
        embedder: int8 file.
    """
    runner = ModelRunner(embedder)
    others = {n: ModelRunner((folder / RECIPES[n].file).read_bytes()) for n in ("detector-far", "landmarks")}
    cropper = Cropper({**others, "embedder": runner})
    crops: dict[str, list[BgrImage]] = {}
    for path in track(paths, "Strangers: faces"):
        crop = cropper.crop(read_image(path))
        if crop is not None:
            crops.setdefault(path.relative_to(faces).parts[0], []).append(crop.face)
    lengths: list[float] = []

    def embed(face: BgrImage) -> FloatArray:
        vector = runner(face)["embedding"].ravel()
        lengths.append(float(np.linalg.norm(vector)))
        return normalize(vector)

    probes, owners, centroids = [], [], []
    for number, of_person in enumerate(track(crops.values(), "Strangers: vectors")):
        straight = [embed(face) for face in of_person]
        mirrored = [embed(np.ascontiguousarray(face[:, ::-1])) for face in of_person[:_ENROLLED]]
        centroids.append(normalize(np.sum(straight[:_ENROLLED] + mirrored, axis=0)))
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
    """Squared distances at which given shares of strangers are accepted as another person.

    Each is the smaller of the counted quantile and the quantile of a normal distribution fitted to the nearest
    hundredth of all pairs, rounded down. With too few pairs to count, the fitted quantile is used.

    Args:
        distances: (N,) sorted squared distances between a photo and the centroid of another person.

    Raises:
        InputError: too few pairs.
    """
    anchors = np.array([1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
    anchors = anchors[anchors * distances.size >= _MIN_COUNT]
    if len(anchors) < 2:
        raise InputError(
            f"{distances.size} pairs of strangers are too few: give photos of more people, best some thousand"
        )
    slope, offset = np.polyfit(
        np.array([_NORMAL.inv_cdf(rate) for rate in anchors]), np.quantile(distances, anchors), 1
    )
    rows = []
    for rate in _RATES:
        fitted = slope * _NORMAL.inv_cdf(rate) + offset
        counted = float(np.quantile(distances, rate)) if rate * distances.size >= _MIN_COUNT else fitted
        rows.append(OperatingPoint(rate, math.floor(100 * min(fitted, counted)) / 100))
    return tuple(rows)
