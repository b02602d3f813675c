"""Rules of the operations that a Coral Edge TPU runs, from the documentation of its compiler.

The list and its limits are from https://coral.ai/docs/edgetpu/models-intro/#supported-operations for runtime 13 and
newer, and of "Model requirements" on the same page. Only the compiler can decide for certain: an
operation is called doubtful if the result depends on its internal limits of size or precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from threshold_tools.quantize.graph import Array

_EIGHT_BIT = frozenset({schema.TensorType.INT8, schema.TensorType.UINT8})
_TYPE_NAMES: dict[int, str] = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_INNERMOST = 3  # dimensions that may be larger than 1


class SupportLevel(StrEnum):
    """Whether an operation is mapped, by the documentation."""

    YES = "mapped"
    DOUBTFUL = "doubtful"
    NO = "not mapped"


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor: type in the TFLite schema, whether its size is fixed, and values of a constant (int32 or bytes)."""

    shape: tuple[int, ...]
    type: int
    fixed: bool = True
    values: Array | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: `kind` is its TFLite name ("CONV_2D"), `options` is its TFLite options or None."""

    kind: str
    inputs: list[Operand]
    outputs: list[Operand]
    options: Any = None

    def option(self, name: str) -> int:
        return int(getattr(self.options, name, 0) or 0)


def edgetpu_support(op: Op) -> tuple[SupportLevel, str]:
    """Whether one operation is mapped, and the reason against it, or ""."""
    why = _unsupported_tensor(op)
    if not why and op.kind not in _UNLIMITED:
        why = _LIMITS[op.kind](op) if op.kind in _LIMITS else "not on the list of supported operations"
    if why:
        return SupportLevel.NO, why
    doubt = _doubt(op)
    return (SupportLevel.DOUBTFUL, doubt) if doubt else (SupportLevel.YES, "")


def _unsupported_tensor(op: Op) -> str:
    """Rules for every operation: 8 bits, fixed sizes, at most three dimensions larger than 1."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor.values is None and tensor.type not in _EIGHT_BIT:
            return f"a {_TYPE_NAMES[tensor.type]} tensor, not 8 bits"
        if tensor.values is not None and tensor.type not in (*_EIGHT_BIT, schema.TensorType.INT32):
            return f"a {_TYPE_NAMES[tensor.type]} constant, neither 8 bits nor int32"
        if not tensor.fixed:
            return "a size that is not fixed"
        if tensor.values is None and any(side > 1 for side in tensor.shape[:-_INNERMOST]):
            return f"more than {_INNERMOST} dimensions larger than 1"
    return ""


def _doubt(op: Op) -> str:
    """Cases that the documentation leaves to the compiler."""
    if op.kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        half = "half-pixel centres, which some compiler versions reject; " if op.option("halfPixelCenters") else ""
        return f"{half}not mapped if its size reduces the precision"
    return "certain reshapes are not mapped when the tensors are large" if op.kind == "RESHAPE" else ""


def _concatenation(op: Op) -> str:
    constants = [tensor.values for tensor in op.inputs if tensor.values is not None]
    if constants and (len(op.inputs) != 2 or any(np.any(values) for values in constants)):
        return "a constant input other than padding of two inputs with zeros"
    return _not_fused(op)


def _not_fused(op: Op) -> str:
    return "an activation is fused into it" if op.option("fusedActivationFunction") else ""


def _convolution(op: Op) -> str:
    if op.option("dilationWFactor") != op.option("dilationHFactor"):
        return "dilation differs between x and y"
    return _not_constant("weights or bias are", *op.inputs[1:])


def _not_constant(what: str, *tensors: Operand) -> str:
    return f"{what} not constant" if any(tensor.values is None for tensor in tensors) else ""


def _fully_connected(op: Op) -> str:
    if op.option("weightsFormat"):
        return "weights are not in the default format"
    if _sides(op.outputs[0]) > 1:
        return "the output has more than one dimension"
    return _not_constant("weights or bias are", *op.inputs[1:])


def _sides(tensor: Operand) -> int:
    """Number of dimensions larger than 1."""
    return sum(side > 1 for side in tensor.shape)


def _padding(op: Op) -> str:
    amounts = op.inputs[1].values
    if amounts is None:
        return "amounts are not constant"
    batched = len(op.inputs[0].shape) > _INNERMOST
    return "padding in the batch dimension" if batched and np.any(amounts.reshape(-1, 2)[0]) else ""


def _mean(op: Op) -> str:
    shape, axes = op.inputs[0].shape, _axes(op)
    if axes is None or (0 in axes and len(shape) > _INNERMOST):
        return "a reduction in the batch dimension"
    if len(shape) - 1 in axes and shape[-1] % 4:
        return "a reduction over channels whose number is not a multiple of 4"
    return ""


def _reduction(op: Op) -> str:
    axes = _axes(op)
    return "a reduction in the batch dimension" if axes is None or 0 in axes else ""


def _axes(op: Op) -> set[int] | None:
    """Axes of the reduction, counted from the front; None if they are not constant."""
    values = op.inputs[1].values
    return None if values is None else {int(axis) % len(op.inputs[0].shape) for axis in values.ravel()}


def _splitting(op: Op) -> str:
    axis = op.inputs[0].values
    return "splitting in the batch dimension" if axis is None or not np.any(axis) else ""


def _prelu(op: Op) -> str:
    slopes = op.inputs[1]
    if slopes.values is None:
        return "slopes are not constant"
    return "more than one slope per channel" if any(side > 1 for side in slopes.shape[:-1]) else ""


def _softmax(op: Op) -> str:
    if _sides(op.inputs[0]) > 1:
        return "the input has more than one dimension"
    return "more than 16,000 elements" if int(np.prod(op.inputs[0].shape)) > 16_000 else ""


def _strided_slice(op: Op) -> str:
    strides = op.inputs[3].values
    if strides is None or np.any(strides != 1):
        return "strides other than 1"
    return "an ellipsis or a new axis" if op.option("ellipsisMask") or op.option("newAxisMask") else ""


_UNLIMITED = (
    *("ADD", "EXPAND_DIMS", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE", "RELU", "RELU6"),
    *("RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SPACE_TO_DEPTH"),
    *("SQUARED_DIFFERENCE", "SQUEEZE", "SUB", "TANH", "TRANSPOSE", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
)
_LIMITS: dict[str, Callable[[Op], str]] = {
    "AVERAGE_POOL_2D": _not_fused,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _not_fused,
    "MEAN": _mean,
    "PACK": lambda op: "packing in the batch dimension" if op.option("axis") == 0 else "",
    "PAD": _padding,
    "PRELU": _prelu,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "SOFTMAX": _softmax,
    "SPLIT": _splitting,
    "STRIDED_SLICE": _strided_slice,
    "SUM": _reduction,
    "TRANSPOSE_CONV": lambda op: _not_constant("weights are", *op.inputs[:2]),
}
