"""Measuring on face photos what a recipe needs: equalization factors, ranges, distances between strangers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np

from edge.core.records import BgrImage, FloatArray
from edge.vision.manifest import OperatingPoint
from threshold_tools.quantize import calibration_photos
from threshold_tools.quantize.calibration_data import CalibrationData
from threshold_tools.quantize.equalize import plan
from threshold_tools.quantize.graph import Array, Graph
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.recipe import Recipe, fold_layers, make_int8, normalize_graph, prepare_graph
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner
from threshold_tools.quantize.stages import Cropper, SubjectFinder

HEADROOM = 0.3  # 0: a tensor's range is the mean over the pictures of its extremes; 1: the extremes of all
IMAGES = 240  # pictures each model is measured on; more changed nothing
NORMAL = NormalDist()
RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ENROLLED = 3  # photos in a centroid
MIN_COUNT = 10  # pairs below a distance for it to be counted rather than fitted
Track = Callable[[list[BgrImage], str], Iterable[BgrImage]]  # shows progress while a list is gone through


def float_runners(recipes: dict[str, Recipe], originals: dict[str, bytes]) -> dict[str, FloatRunner]:
    """Every model's float reference."""
    return {name: FloatRunner(normalize_graph(r, originals[name]), r.image_range) for name, r in recipes.items()}


def model_inputs(
    recipe: Recipe,
    paths: list[Path],
    recipes: dict[str, Recipe],
    floats: dict[str, FloatRunner],
    count: int = IMAGES,
) -> list[BgrImage]:
    """What the model sees of the photos: whole scenes, mesh crops or aligned faces."""
    if recipe.job == "detector":
        own = SubjectFinder(floats[recipe.name], recipe.anchors)
        return [own.input_of(scene) for scene in calibration_photos.scenes(paths, count, seed=0)]
    finder = SubjectFinder(floats["detector-far"], recipes["detector-far"].anchors)
    cropper = Cropper(finder, floats["landmarks"], floats["embedder"].size_px)
    found = (cropper.crop(image) for image in calibration_photos.views(paths, count))
    return [crops.mesh if recipe.job == "landmarks" else crops.face for crops in found if crops is not None]


def measure(recipe: Recipe, original: bytes, images: list[BgrImage], source: str, track: Track) -> CalibrationData:
    """Equalization factors, then the ranges of the graph they give."""
    graph = fold_layers(recipe, original)
    watching = FloatRunner(graph, recipe.image_range, watch=True)
    magnitudes: dict[str, Array] = {}
    seen: dict[str, list[Array]] = {role: [] for role in recipe.centred}
    for image in track(images, f"{recipe.name}: channels"):
        for tensor, values in watching(image).items():
            largest = np.abs(values.reshape(-1, values.shape[-1])).max(axis=0)
            magnitudes[tensor] = np.maximum(magnitudes.get(tensor, largest), largest)
            if tensor in seen:
                seen[tensor].append(values.ravel())
    exponents = plan(graph, magnitudes)
    centres = {role: _middle(np.stack(rows)) for role, rows in seen.items()}
    ranges = _ranges(recipe, prepare_graph(recipe, original, exponents, centres), images, track)
    measured = CalibrationData(f"{len(images)} pictures from {source}", exponents, ranges, centres)
    return msgspec.structs.replace(measured, corrections=_corrections(recipe, original, measured, images, track))


def _corrections(
    recipe: Recipe, original: bytes, measured: CalibrationData, images: list[BgrImage], track: Track
) -> dict[str, list[float]]:
    """What the int8 outputs lack on average of the float ones."""
    if not recipe.corrected:
        return {}
    floating = FloatRunner(normalize_graph(recipe, original), recipe.image_range)
    integer = IntegerRunner(make_int8(recipe, original, measured))
    lacks: dict[str, list[Array]] = {role: [] for role in recipe.corrected}
    for image in track(images, f"{recipe.name}: corrections"):
        expected, found = floating(image), integer(image)
        for role, rows in lacks.items():
            rows.append((expected[role] - found[role]).ravel())
    return {role: [_short(value) for value in np.mean(rows, axis=0)] for role, rows in lacks.items()}


def _middle(rows: Array) -> list[int]:
    return [int(value) for value in np.round((rows.min(axis=0) + rows.max(axis=0)) / 2)]


def _ranges(recipe: Recipe, graph: Graph, images: list[BgrImage], track: Track) -> Ranges:
    """Between the mean of each picture's extremes and the extremes of all, by `HEADROOM`."""
    watching = FloatRunner(graph, recipe.image_range, watch=True)
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


def impostors(
    embed: Callable[[BgrImage], FloatArray], crops: dict[str, list[BgrImage]], track: Track
) -> tuple[OperatingPoint, ...]:
    """At which squared distance what share of strangers would pass as somebody else.

    A centroid is the normalised mean over up to three photos of a person and their mirror images; a probe is one
    photo of another person.

    Args:
        embed: the int8 embedder.
        crops: aligned faces by person.
        track: shows progress.
    """
    names = [name for name in crops for _ in crops[name]]
    flat = [crop for several in crops.values() for crop in several]
    probes = np.stack([_unit(embed(crop)) for crop in track(flat, "strangers: photos")])
    chosen = [crop for several in crops.values() for crop in several[:ENROLLED]]
    mirrored = [_unit(embed(np.ascontiguousarray(crop[:, ::-1]))) for crop in track(chosen, "strangers: mirrored")]
    centroids, first, at = [], 0, 0
    for several in crops.values():
        used = min(len(several), ENROLLED)
        both = np.concatenate([probes[first : first + used], mirrored[at : at + used]])
        centroids.append(_unit(both.sum(axis=0)))
        first, at = first + len(several), at + used
    distances = 2 - 2 * probes @ np.stack(centroids).T
    strangers = np.array(names)[:, None] != np.array(list(crops))[None]
    return impostor_table(np.sort(distances[strangers]))


def impostor_table(distances: FloatArray) -> tuple[OperatingPoint, ...]:
    """Rows of the impostor table from sorted distances (N,) between strangers.

    Each is the smaller of the counted quantile and the one of a normal distribution fitted to the nearest hundredth of
    all pairs, rounded down; too few pairs to count leave the fitted one.
    """
    anchors = np.array([1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
    anchors = anchors[anchors * distances.size >= MIN_COUNT]
    slope, offset = np.polyfit(np.array([NORMAL.inv_cdf(rate) for rate in anchors]), np.quantile(distances, anchors), 1)
    rows = []
    for rate in RATES:
        fitted = slope * NORMAL.inv_cdf(rate) + offset
        counted = float(np.quantile(distances, rate)) if rate * distances.size >= MIN_COUNT else fitted
        rows.append(OperatingPoint(rate, math.floor(100 * min(fitted, counted)) / 100))
    return tuple(rows)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
