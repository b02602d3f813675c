"""Cross-layer equalization: give the channels of a tensor like ranges, so that one int8 scale serves them all.

Every layer between two convolutions is positively homogeneous (ADD, PAD, pooling, resizing, RELU, PRELU), so a channel
may be multiplied by a positive factor where convolutions make it and divided by it where convolutions read it,
without changing the function (Nagel et al., "Data-free quantization through weight equalization and bias
correction", 2019; here with measured activation ranges, and along residual streams).
"""

from __future__ import annotations

import numpy as np

from threshold_tools.quantize.graph import Array, Graph
from threshold_tools.quantize.rewrite import CONVOLUTIONS, scale_channels, scale_inputs

STEP = 0.25  # factors are powers of two in quarter steps, so that a file can hold them exactly as integers
LIMIT = 40  # at most so many steps either way, a factor of 1024
Exponents = dict[str, list[int]]


def plan(graph: Graph, magnitudes: dict[str, Array]) -> Exponents:
    """Factors for the outputs of all convolutions, in steps, from each tensor's largest magnitude per channel (C,)."""
    classes = _Classes(graph)
    for tensor in (*graph.inputs, *graph.outputs.values()):
        classes.fix(tensor)
    size: dict[int, list[float]] = {}
    need: dict[int, list[float]] = {}
    for node in graph.nodes:
        if node.output not in classes.fixed_tensors:
            relative = magnitudes[node.output] / max(float(magnitudes[node.output].max()), 1e-9)
            for channel, value in enumerate(relative):
                size.setdefault(classes.find(node.output, channel), []).append(float(value))
        if node.kind == "CONV_2D":
            reach = np.maximum(magnitudes[node.output], 1e-3 * magnitudes[node.output].max())
            weights = np.abs(graph.constants[node.inputs[1]]) / reach.reshape(-1, 1, 1, 1)
            most = weights.max(axis=(0, 1, 2))
            for channel, value in enumerate(most / max(float(most.max()), 1e-9)):
                need.setdefault(classes.find(node.inputs[0], channel), []).append(float(value))
    exponents: Exponents = {}
    for node in graph.nodes:
        if node.kind not in CONVOLUTIONS:
            continue
        factors = np.zeros(graph.shapes[node.output][-1])
        for channel in range(factors.size):
            key = classes.find(node.output, channel)
            if key not in classes.fixed:
                largest = max(*size[key], 1e-4)
                # Read by depthwise convolutions alone, whose weights have a scale per channel: all channels alike.
                needed = max(*need[key], 1e-4) if key in need else 1 / largest
                factors[channel] = np.log2(needed / largest) / 2
        exponents[node.output] = [int(k) for k in np.clip(np.round(factors / STEP), -LIMIT, LIMIT)]
    return exponents


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


class _Classes:
    """Which channels must share a factor: those that meet without a convolution between them."""

    def __init__(self, graph: Graph) -> None:
        self._parent: dict[tuple[str, int], tuple[str, int]] = {}
        self._shapes = graph.shapes
        self.fixed_tensors: set[str] = set()
        self.fixed: set[int] = set()
        for node in graph.nodes:
            if node.kind in (*CONVOLUTIONS, "RESHAPE", "CONCATENATION"):
                continue
            for tensor in (t for t in node.inputs if t in graph.shapes):
                for channel in range(graph.shapes[tensor][-1]):
                    self._parent[self._root((tensor, channel))] = self._root((node.output, channel))
        for node in graph.nodes:
            if node.kind in ("RESHAPE", "CONCATENATION"):
                self.fixed_tensors.update([*node.inputs, node.output])
        for tensor in [t for t in self.fixed_tensors if t in graph.shapes]:
            self.fix(tensor)

    def fix(self, tensor: str) -> None:
        """Let the channels of a tensor keep their scale."""
        self.fixed_tensors.add(tensor)
        self.fixed.update(self.find(tensor, channel) for channel in range(self._shapes[tensor][-1]))

    def find(self, tensor: str, channel: int) -> int:
        """The class of one channel."""
        return hash(self._root((tensor, channel)))

    def _root(self, key: tuple[str, int]) -> tuple[str, int]:
        parent = self._parent.setdefault(key, key)
        while parent != key:
            key, parent = parent, self._parent.setdefault(parent, parent)
        return key
