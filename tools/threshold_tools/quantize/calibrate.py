"""Measures on face photos what a recipe needs: equalization factors, ranges, centres and corrections."""

from __future__ import annotations

import msgspec
import numpy as np
from tqdm import tqdm

from edge.core.records import BgrImage
from threshold_tools.quantize.calibration_data import CalibrationData
from threshold_tools.quantize.equalize import plan
from threshold_tools.quantize.graph import Array, Graph
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.recipe import Recipe, fold_layers, make_int8, normalize_graph, prepare_graph
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner

HEADROOM = 0.3  # 0: a tensor's range is the mean over the pictures of its extremes; 1: the extremes of all


def measure(recipe: Recipe, original: bytes, images: list[BgrImage], source: str) -> CalibrationData:
    """Equalization factors, then the ranges of the graph they give.

    Args:
        recipe: of the model.
        original: the float file.
        images: what the model sees, uint8 BGR.
        source: where the pictures come from, for people.
    """
    graph = fold_layers(recipe, original)
    watching = FloatRunner(graph, recipe.image_range, watch=True)
    magnitudes: dict[str, Array] = {}
    seen: dict[str, list[Array]] = {role: [] for role in recipe.centred}
    for image in tqdm(images, desc=f"{recipe.name}: channels", disable=None, leave=False):
        for tensor, values in watching(image).items():
            largest = np.abs(values.reshape(-1, values.shape[-1])).max(axis=0)
            magnitudes[tensor] = np.maximum(magnitudes.get(tensor, largest), largest)
            if tensor in seen:
                seen[tensor].append(values.ravel())
    exponents = plan(graph, magnitudes)
    centres = {role: _middle(np.stack(rows)) for role, rows in seen.items()}
    ranges = _ranges(recipe, prepare_graph(recipe, original, exponents, centres), images)
    measured = CalibrationData(f"{len(images)} pictures from {source}", exponents, ranges, centres)
    return msgspec.structs.replace(measured, corrections=_corrections(recipe, original, measured, images))


def _corrections(
    recipe: Recipe, original: bytes, measured: CalibrationData, images: list[BgrImage]
) -> dict[str, list[float]]:
    """By how much the int8 outputs are below the float ones on average."""
    if not recipe.corrected:
        return {}
    floating = FloatRunner(normalize_graph(recipe, original), recipe.image_range)
    integer = IntegerRunner(make_int8(recipe, original, measured))
    differences: dict[str, list[Array]] = {role: [] for role in recipe.corrected}
    for image in tqdm(images, desc=f"{recipe.name}: corrections", disable=None, leave=False):
        expected, found = floating(image), integer(image)
        for role, rows in differences.items():
            rows.append((expected[role] - found[role]).ravel())
    return {role: [_short(value) for value in np.mean(rows, axis=0)] for role, rows in differences.items()}


def _middle(rows: Array) -> list[int]:
    return [int(value) for value in np.round((rows.min(axis=0) + rows.max(axis=0)) / 2)]


def _ranges(recipe: Recipe, graph: Graph, images: list[BgrImage]) -> Ranges:
    """Between the mean of each picture's extremes and the extremes of all, by `HEADROOM`."""
    watching = FloatRunner(graph, recipe.image_range, watch=True)
    extremes: dict[str, list[tuple[float, float]]] = {}
    for image in tqdm(images, desc=f"{recipe.name}: ranges", disable=None, leave=False):
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
