"""Where two TFLite files differ: in an operation, a tensor, its scale or its content, not just in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from threshold_tools.quantize.graph import kind_of, shape_of

SCALE_TOLERANCE = 1e-6  # relative: another library version may round a scale's last bit differently


def differences(expected: bytes, found: bytes) -> list[str]:
    """What differs between two files, in execution order; empty when they are the same network.

    Files of the same network may still differ in bytes (another library version lays them out differently).
    """
    try:
        one, other = (schema.ModelT.InitFromPackedBuf(content, 0) for content in (expected, found))
        return list(_compare_models(one, other))
    except Exception as error:  # the flatbuffer reader raises whatever a damaged offset leads to
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
    if scale.shape != found_scale.shape or not np.allclose(scale, found_scale, rtol=SCALE_TOLERANCE, atol=0):
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
