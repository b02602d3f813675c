"""Cross-layer equalization: gives the channels of a tensor similar ranges, so that one int8 scale fits all of them.

Every layer between two convolutions is positively homogeneous (ADD, PAD, pooling, resizing, RELU, PRELU). A convolution
may therefore multiply a channel by a positive factor, and the next ones divide by it, without changing the function.
Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019; here with measured
activation ranges, and along residual streams.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from threshold_tools.quantize.graph import Array, Graph
from threshold_tools.quantize.rewrite import CONVOLUTIONS, scale_channels, scale_inputs

STEP = 0.25  # factors are powers of two in quarter steps, which a file stores exactly as integers
LIMIT = 40  # largest number of steps, a factor of 1024 or 1/1024
Exponents = dict[str, list[int]]
_MIXING = ("RESHAPE", "CONCATENATION")  # their channels differ from those of their inputs


def plan(graph: Graph, magnitudes: dict[str, Array]) -> Exponents:
    """Factors for the outputs of all convolutions, in steps, from the largest magnitude (C,) of the channels."""
    classes = _channel_classes(graph)
    kept = {*graph.inputs, *graph.outputs.values()}  # tensors whose channels keep their scale
    for node in graph.nodes:
        if node.kind in _MIXING:
            kept.update([*node.inputs, node.output])
    fixed = {label for tensor in kept if tensor in classes for label in classes[tensor].tolist()}
    size: dict[int, list[float]] = {}
    need: dict[int, list[float]] = {}
    for node in graph.nodes:
        if node.output not in kept:
            relative = magnitudes[node.output] / max(float(magnitudes[node.output].max()), 1e-9)
            for label, value in zip(classes[node.output].tolist(), relative, strict=True):
                size.setdefault(label, []).append(float(value))
        if node.kind == "CONV_2D":
            reach = np.maximum(magnitudes[node.output], 1e-3 * magnitudes[node.output].max())
            weights = np.abs(graph.constants[node.inputs[1]]) / reach.reshape(-1, 1, 1, 1)
            most = weights.max(axis=(0, 1, 2))
            relative = most / max(float(most.max()), 1e-9)
            for label, value in zip(classes[node.inputs[0]].tolist(), relative, strict=True):
                need.setdefault(label, []).append(float(value))
    exponents: Exponents = {}
    for node in graph.nodes:
        if node.kind in CONVOLUTIONS:
            factors = [
                0.0 if label in fixed else _factor(size[label], need.get(label)) for label in classes[node.output]
            ]
            exponents[node.output] = [int(k) for k in np.clip(np.round(np.array(factors) / STEP), -LIMIT, LIMIT)]
    return exponents


def _factor(sizes: list[float], needs: list[float] | None) -> float:
    """Logarithm of the factor of one class of channels, to base 2."""
    largest = max(*sizes, 1e-4)
    # Only depthwise convolutions read it, whose weights have a scale per channel: equalize all channels.
    needed = max(*needs, 1e-4) if needs else 1 / largest
    return float(np.log2(needed / largest) / 2)


def _channel_classes(graph: Graph) -> dict[str, NDArray[np.int32]]:
    """A label for each channel of each tensor; channels that meet without a convolution between them have one label."""
    starts, total = {}, 0
    for tensor, shape in graph.shapes.items():
        starts[tensor], total = total, total + shape[-1]
    pairs = [np.zeros((2, 0), np.intp)]
    for node in graph.nodes:
        if node.kind not in (*CONVOLUTIONS, *_MIXING):
            for tensor in (t for t in node.inputs if t in graph.shapes):
                channels = np.arange(graph.shapes[tensor][-1])
                pairs.append(np.stack([starts[tensor] + channels, starts[node.output] + channels]))
    rows, columns = np.concatenate(pairs, axis=1)
    labels = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), (total, total)), directed=False)[1]
    return {tensor: labels[start : start + graph.shapes[tensor][-1]] for tensor, start in starts.items()}


def equalize(graph: Graph, exponents: Exponents) -> None:
    """Apply the factors of `plan`."""
    factors: dict[str, Array] = {}
    for node in graph.nodes:
        before = next((factors[t] for t in node.inputs if t in factors), None)
        if node.kind in CONVOLUTIONS:
            if before is not None:
                scale_inputs(graph, node, 1 / before)
            factors[node.output] = 2.0 ** (STEP * np.array(exponents[node.output]))
            scale_channels(graph, node, factors[node.output])
        elif before is not None:
            factors[node.output] = before
            if node.kind == "PAD":
                zeros = graph.shapes[node.output][-1] - before.size
                factors[node.output] = np.concatenate([before, np.full(zeros, np.nan)])  # zeros fit any factor
            if node.kind == "ADD":
                one, other = (factors[t] for t in node.inputs)
                factors[node.output] = np.where(np.isnan(one), other, one)
