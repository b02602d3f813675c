"""Where two TFLite files first differ: in an operation, a tensor, its scale or its content, not just in bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from threshold_tools.quantize.graph import OP_NAMES

SCALE_TOLERANCE = 1e-6  # relative: another library version may round a scale's last bit differently


def differences(expected: bytes, found: bytes) -> list[str]:
    """What differs between two files, in execution order; empty when they are the same network.

    Files of the same network may still differ in bytes (another library version lays them out differently).
    """
    try:
        one, other = (schema.ModelT.InitFromPackedBuf(content, 0) for content in (expected, found))
        return _compare_models(one, other)
    except Exception as error:  # the flatbuffer reader raises whatever a damaged offset leads to
        return [f"not readable as a TFLite file ({type(error).__name__}: {error})"]


def _compare_models(one: Any, other: Any) -> list[str]:
    a, b = one.subgraphs[0], other.subgraphs[0]
    if len(a.operators) != len(b.operators):
        return [f"{len(b.operators)} operations instead of {len(a.operators)}"]
    found: list[str] = []
    seen: set[int] = set()
    for number, (p, q) in enumerate(zip(a.operators, b.operators, strict=True)):
        kinds = [_kind(model, op) for model, op in ((one, p), (other, q))]
        where = f"operation {number} {kinds[0]}"
        if kinds[0] != kinds[1]:
            found.append(f"{where}: is {kinds[1]}")
            continue
        if _options(p) != _options(q):
            found.append(f"{where}: options {_options(q)} instead of {_options(p)}")
        tensors = [[*op.inputs, *op.outputs] for op in (p, q)]
        if len(tensors[0]) != len(tensors[1]):
            found.append(f"{where}: {len(tensors[1])} tensors instead of {len(tensors[0])}")
            continue
        for i, j in zip(*tensors, strict=True):
            if i not in seen:
                seen.add(i)
                found += [f"{where}: {what}" for what in _compare_tensors(one, a.tensors[i], other, b.tensors[j])]
    roles = [[g.tensors[i].name for i in (*g.inputs, *g.outputs)] for g in (a, b)]
    if roles[0] != roles[1]:
        found.append(f"inputs and outputs are named {roles[1]} instead of {roles[0]}")
    return found


def _compare_tensors(one: Any, p: Any, other: Any, q: Any) -> list[str]:
    name = p.name.decode()
    shapes = [() if t.shape is None else tuple(int(n) for n in t.shape) for t in (p, q)]
    if p.type != q.type or shapes[0] != shapes[1]:
        return [f"tensor {name}: type {q.type} shape {shapes[1]} instead of type {p.type} shape {shapes[0]}"]
    found = []
    scales, zeros = zip(_quantization(p), _quantization(q), strict=True)
    if scales[0].shape != scales[1].shape or not np.allclose(scales[0], scales[1], rtol=SCALE_TOLERANCE, atol=0):
        found.append(f"tensor {name}: scale {scales[1][:1]} instead of {scales[0][:1]}")
    if not np.array_equal(zeros[0], zeros[1]):
        found.append(f"tensor {name}: zero point {zeros[1][:1]} instead of {zeros[0][:1]}")
    contents = [_content(model, tensor) for model, tensor in ((one, p), (other, q))]
    if contents[0].shape != contents[1].shape:
        found.append(f"tensor {name}: {contents[1].size} bytes of content instead of {contents[0].size}")
    elif (different := np.flatnonzero(contents[0] != contents[1])).size:
        found.append(f"tensor {name}: {different.size} of {contents[0].size} bytes differ, first at {different[0]}")
    return found


def _kind(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


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
