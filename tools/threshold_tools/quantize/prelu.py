"""PReLU, which neither the quantizer nor XNNPACK's int8 path has: folded for what follows, or made of what both have.

All forms are exact in float. Doors run it in float32 between int8 convolutions, see `recipe.Recipe.floating`; what must
be integer throughout, for an Edge TPU, takes `as_maximum`, or `as_sum` where slopes are above 1. models/README.md lists
the other forms and their times.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from threshold_tools.quantize.graph import Array, Graph, Node, tidy
from threshold_tools.quantize.rewrite import CONVOLUTIONS, RELU, scale_channels, scale_inputs


def merge_prelus(graph: Graph) -> None:
    """Turn relu(x) + slope * (x - |x|), slope already halved, back into one PRELU node."""
    for add in [node for node in graph.nodes if node.kind == "ADD"]:
        parts = [graph.producer(t) for t in add.inputs]
        relu = next((p for p in parts if p is not None and p.kind == "RELU"), None)
        mul = next((p for p in parts if p is not None and p.kind == "MUL"), None)
        if relu is None or mul is None:
            continue
        slope = next(t for t in mul.inputs if t in graph.constants)
        add.kind, add.options = "PRELU", None
        name = f"{add.output}_slope"
        graph.constants[name] = 2 * graph.constants[slope].reshape(1, 1, -1)
        add.inputs = [relu.inputs[0], name]
    tidy(graph)


def fold_steep_slopes(graph: Graph) -> None:
    """Bring PRELU slopes to -1..1 where convolutions stand on both sides.

    PReLU_a(x) = -a PReLU_{1/a}(-x) for a > 0, and |a| PReLU_{1/a}(-x) for a < 0: the sign goes into the convolution
    before, the factor into the one after.
    """
    for prelu, before, after in find_prelus(graph):
        slope = graph.constants[prelu.inputs[1]].reshape(-1)
        steep = np.abs(slope) > 1
        scale_channels(graph, before, np.where(steep, -1.0, 1.0))
        scale_inputs(graph, after, np.where(steep, -slope, 1.0))
        folded = np.where(steep, 1 / np.where(steep, slope, 1.0), slope)
        graph.constants[prelu.inputs[1]] = folded.reshape(1, 1, -1).astype(np.float32)


def find_prelus(graph: Graph) -> list[tuple[Node, Node, Node]]:
    """Every (prelu, convolution before it, convolution after it) that have each other alone."""
    found = []
    for prelu in graph.nodes:
        if prelu.kind != "PRELU":
            continue
        before, after = graph.producer(prelu.inputs[0]), graph.consumers(prelu.output)
        if before is None or before.kind not in CONVOLUTIONS or len(after) != 1 or after[0].kind not in CONVOLUTIONS:
            continue
        found.append((prelu, before, after[0]))
    return found


def prelu_as_max(graph: Graph) -> None:
    """PReLU(x) = max(x, a x) for slopes up to 1: a depthwise 1x1 convolution and a MAXIMUM; steeper layers are left."""
    for prelu in [node for node in graph.nodes if node.kind == "PRELU"]:
        x, slope = prelu.inputs
        values = graph.constants[slope].reshape(-1)
        if values.max() > 1:
            continue
        scaled = _depthwise(graph, prelu, x, values, f"{prelu.output}_scaled")
        options = schema.MaximumMinimumOptionsT()
        at = graph.nodes.index(prelu)
        graph.nodes[at : at + 1] = [scaled, Node("MAXIMUM", [x, scaled.output], prelu.output, options)]
    tidy(graph)


def prelu_as_add(graph: Graph) -> None:
    """PReLU(x) = x + relu((a - 1) x) for slopes up to 1; steeper channels need a sign after the relu, one node more."""
    for prelu in [node for node in graph.nodes if node.kind == "PRELU"]:
        x, slope = prelu.inputs
        values = graph.constants[slope].reshape(-1)
        correction = _depthwise(graph, prelu, x, -np.abs(values - 1), f"{prelu.output}_correction", RELU)
        nodes = [correction]
        if values.max() > 1:
            signs = np.where(values > 1, -1.0, 1.0)
            nodes.append(_depthwise(graph, prelu, correction.output, signs, f"{prelu.output}_signed"))
        nodes.append(Node("ADD", [x, nodes[-1].output], prelu.output, schema.AddOptionsT()))
        at = graph.nodes.index(prelu)
        graph.nodes[at : at + 1] = nodes
    tidy(graph)


def _depthwise(graph: Graph, prelu: Node, source: str, factors: Array, output: str, activation: int = 0) -> Node:
    """A node that multiplies each channel of `source` by its factor; `output` names it and its constants."""
    weights, bias = f"{output}_weights", f"{output}_bias"
    graph.constants[weights] = factors.reshape(1, 1, 1, -1).astype(np.float32)
    graph.constants[bias] = np.zeros(factors.size, np.float32)
    graph.shapes[output] = graph.shapes[prelu.output]
    options = schema.DepthwiseConv2DOptionsT(
        strideW=1, strideH=1, depthMultiplier=1, fusedActivationFunction=activation
    )
    return Node("DEPTHWISE_CONV_2D", [source, weights, bias], output, options)
