"""Compares an int8 model with its float original in accuracy and time, and two model files with each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.core.records import BgrImage, Face
from edge.vision.face_mesh import five_points
from threshold_tools.quantize.graph import kind_of, shape_of, write_graph
from threshold_tools.quantize.recipe import Recipe
from threshold_tools.quantize.runner import ModelRunner, float_runner, paired_ms
from threshold_tools.quantize.stages import SubjectFinder

Report = dict[str, float | str]
_SCALE_TOLERANCE = 1e-6  # relative; other library versions may round the last bit of a scale differently


def compare(recipe: Recipe, one: ModelRunner, other: ModelRunner, images: Iterable[BgrImage]) -> Report:
    """Differences of `other` (int8) from `one` (float); a detector gets scenes, other models get their inputs."""
    if recipe.job == "detector":
        return _compare_detectors(recipe, one, other, images)
    if recipe.job == "landmarks":
        return _compare_meshes(one, other, images)
    pairs = ((one(image)["embedding"].ravel(), other(image)["embedding"].ravel()) for image in images)
    cosines = np.array([float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in pairs])
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


def _keypoint_error(one: Face, other: Face) -> float:
    """Mean distance of the six keypoints in percent of the eye distance."""
    eyes = np.linalg.norm(one.keypoints_px[1] - one.keypoints_px[0])
    return float(100 * np.linalg.norm(one.keypoints_px - other.keypoints_px, axis=1).mean() / eyes)


def _round(value: float | np.floating, digits: int) -> float:
    return round(float(value), digits)


def differences(expected: bytes, found: bytes) -> list[str]:
    """Differences between two files in execution order; empty if they are the same network.

    Files of the same network may differ in bytes, because library versions use different layouts.
    """
    try:
        one, other = (schema.ModelT.InitFromPackedBuf(content, 0) for content in (expected, found))
        return list(_compare_models(one, other))
    except Exception as error:  # a damaged offset can raise any exception in the flatbuffer reader
        return [f"not readable as a TFLite file ({type(error).__name__}: {error})"]


def _compare_models(one: Any, other: Any) -> Iterator[str]:
    a, b = one.subgraphs[0], other.subgraphs[0]
    if len(a.operators) != len(b.operators):
        yield f"{len(b.operators)} operations instead of {len(a.operators)}"
        return
    seen: set[int] = set()
    for number, (p, q) in enumerate(zip(a.operators, b.operators, strict=True)):
        where = f"operation {number} {kind_of(one, p)}"
        if kind_of(one, p) != kind_of(other, q):
            yield f"{where}: is {kind_of(other, q)}"
            continue
        if _options(p) != _options(q):
            yield f"{where}: options {_options(q)} instead of {_options(p)}"
        tensors = [[*op.inputs, *op.outputs] for op in (p, q)]
        if len(tensors[0]) != len(tensors[1]):
            yield f"{where}: {len(tensors[1])} tensors instead of {len(tensors[0])}"
            continue
        for i, j in zip(*tensors, strict=True):
            if i not in seen:
                seen.add(i)
                found = _compare_tensors(one, a.tensors[i], other, b.tensors[j])
                yield from (f"{where}: tensor {a.tensors[i].name.decode()}: {what}" for what in found)
    roles = [[g.tensors[i].name for i in (*g.inputs, *g.outputs)] for g in (a, b)]
    if roles[0] != roles[1]:
        yield f"inputs and outputs are named {roles[1]} instead of {roles[0]}"


def _compare_tensors(one: Any, p: Any, other: Any, q: Any) -> Iterator[str]:
    if p.type != q.type or shape_of(p) != shape_of(q):
        yield f"type {q.type} shape {shape_of(q)} instead of type {p.type} shape {shape_of(p)}"
        return
    (scale, zero), (found_scale, found_zero) = _quantization(p), _quantization(q)
    if scale.shape != found_scale.shape or not np.allclose(scale, found_scale, rtol=_SCALE_TOLERANCE, atol=0):
        yield f"scale {found_scale[:1]} instead of {scale[:1]}"
    if not np.array_equal(zero, found_zero):
        yield f"zero point {found_zero[:1]} instead of {zero[:1]}"
    content, found = _content(one, p), _content(other, q)
    if content.shape != found.shape:
        yield f"{found.size} bytes of content instead of {content.size}"
    elif (different := np.flatnonzero(content != found)).size:
        yield f"{different.size} of {content.size} bytes differ, first at {different[0]}"


def _options(operator: Any) -> dict[str, object]:
    fields = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in fields.items()}


def _quantization(tensor: Any) -> tuple[np.ndarray, np.ndarray]:
    q = tensor.quantization
    if q is None or q.scale is None:
        return np.zeros(0), np.zeros(0)
    return np.asarray(q.scale, np.float64), np.asarray(q.zeroPoint, np.int64)


def _content(model: Any, tensor: Any) -> np.ndarray:
    data = model.buffers[tensor.buffer].data
    return np.zeros(0, np.uint8) if data is None else np.asarray(data, np.uint8)
