"""What quantization cost: each int8 model against its float original, on the same pictures, and in time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge.core.records import BgrImage, Face, FloatArray
from edge.vision.face_mesh import five_points
from threshold_tools.quantize.graph import write_graph
from threshold_tools.quantize.recipe import Recipe
from threshold_tools.quantize.runner import ModelRunner, float_runner, paired_ms
from threshold_tools.quantize.stages import SubjectFinder

Report = dict[str, float | str]


def compare(recipe: Recipe, one: ModelRunner, other: ModelRunner, images: Iterable[BgrImage]) -> Report:
    """Differences of `other` (int8) from `one` (float); a detector gets scenes, the others what they see."""
    if recipe.job == "detector":
        return _compare_detectors(recipe, one, other, images)
    if recipe.job == "landmarks":
        return _compare_meshes(one, other, images)
    cosines = np.array([_cosine(one(image)["embedding"], other(image)["embedding"]) for image in images])
    return {
        "pictures": float(cosines.size),
        "cosine_median": _round(np.median(cosines), 5),
        "cosine_p1": _round(np.percentile(cosines, 1), 5),
    }


def _compare_detectors(recipe: Recipe, one: ModelRunner, other: ModelRunner, images: Iterable[BgrImage]) -> Report:
    first, second = (SubjectFinder(runner, recipe.anchors) for runner in (one, other))
    pairs = [(first.find(image), second.find(image)) for image in images]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    found = sum(a is not None for a, _ in pairs)
    report: Report = {
        "pictures": float(len(pairs)),
        "found_float": float(found),
        "found_int8": float(sum(b is not None for _, b in pairs)),
        "found_by_both_percent": _round(100 * len(both) / max(found, 1), 2),
    }
    if not both:
        return report
    scores = np.array([b.score - a.score for a, b in both])
    overlaps = np.array([a.box.iou(b.box) for a, b in both])
    errors = np.array([_keypoint_error(a, b) for a, b in both])
    return report | {
        "score_difference_mean": _round(scores.mean(), 4),
        "score_difference_p95": _round(np.percentile(np.abs(scores), 95), 4),
        "box_iou_median": _round(np.median(overlaps), 4),
        "box_iou_p5": _round(np.percentile(overlaps, 5), 4),
        "keypoint_error_median_percent": _round(np.median(errors), 2),
        "keypoint_error_p95_percent": _round(np.percentile(errors, 95), 2),
    }


def _compare_meshes(one: ModelRunner, other: ModelRunner, images: Iterable[BgrImage]) -> Report:
    errors, presences = [], []
    for image in images:
        a, b = one(image), other(image)
        mesh, found = (o["points"].reshape(-1, 3)[:, :2] for o in (a, b))
        eyes = five_points(mesh)[:2]
        errors.append(100 * np.linalg.norm(mesh - found, axis=1).mean() / np.linalg.norm(eyes[1] - eyes[0]))
        presences.append(abs(float(b["presence"].ravel()[0] - a["presence"].ravel()[0])))
    return {
        "pictures": float(len(errors)),
        "point_error_median_percent": _round(np.median(errors), 2),
        "point_error_p95_percent": _round(np.percentile(errors, 95), 2),
        "presence_logit_difference_median": _round(np.median(presences), 2),
    }


def measure_time(recipe: Recipe, original: bytes, content: bytes) -> Report:
    """Time of one run, 1 thread, against the canonical float graph and the file as shipped, medians; sizes in kB."""
    integer = ModelRunner(content)
    graph = recipe.normalize(original)
    floating = float_runner(graph, recipe.image_range)
    times = paired_ms([integer.invoke, floating.invoke, ModelRunner(original).invoke])
    int8_ms, float_ms, shipped_ms = np.median(times, axis=1)
    partitions, left = integer.delegated()
    return {
        "int8_ms": _round(int8_ms, 3),
        "float_ms": _round(float_ms, 3),
        "time_ratio": _round(np.median(times[0] / times[1]), 3),
        "float_as_shipped_ms": _round(shipped_ms, 3),
        "xnnpack_partitions": float(partitions),
        "nodes_outside_xnnpack": float(left),
        "int8_kb": _round(len(content) / 1000, 1),
        "float_kb": _round(len(write_graph(graph)) / 1000, 1),
        "shipped_kb": _round(len(original) / 1000, 1),
    }


def _cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one.ravel() @ other.ravel() / (np.linalg.norm(one) * np.linalg.norm(other)))


def _keypoint_error(one: Face, other: Face) -> float:
    """Mean distance of the six keypoints in percent of the eye distance."""
    eyes = np.linalg.norm(one.keypoints_px[1] - one.keypoints_px[0])
    return float(100 * np.linalg.norm(one.keypoints_px - other.keypoints_px, axis=1).mean() / eyes)


def _round(value: float | np.floating, digits: int) -> float:
    return round(float(value), digits)
