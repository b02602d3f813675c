"""Rewrites of a float graph that keep its function, and replace operations that int8 kernels do not support.

Each rewrite works in place, is exact up to float rounding, and is a step of a recipe.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.core.errors import ModelError
from threshold_tools.quantize.graph import Array, Graph, Node, rename, tidy

RELU = schema.ActivationFunctionType.RELU
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def fuse_relu(graph: Graph) -> None:
    """Fold every RELU into the ADD or convolution before it, because a separate RELU is not delegated in int8."""
    for relu in [node for node in graph.nodes if node.kind == "RELU"]:
        before = graph.producer(relu.inputs[0])
        if before is None or before.kind not in (*CONVOLUTIONS, "ADD") or len(graph.consumers(before.output)) != 1:
            continue
        before.options.fusedActivationFunction = RELU
        before.output = relu.output
        graph.nodes.remove(relu)
    tidy(graph)


def batch_one(graph: Graph) -> None:
    """Change a network with a fixed larger batch to batch 1; its final RESHAPE keeps its last axis."""
    graph.shapes = {t: (1, *shape[1:]) for t, shape in graph.shapes.items()}
    for node in graph.nodes:
        if node.kind == "RESHAPE":
            node.options.newShape = list(graph.shapes[node.output])
            node.inputs = node.inputs[:1]


def fold_input(graph: Graph, mean: float, std: float) -> None:
    """Change the input to BGR, and to p/std (mean 0) or (p-128)/std instead of (p-mean)/std; p is the pixel, 0..255.

    The weights of the first convolution get the channel order, and its bias the offset of half a grey level (mean 127.5
    instead of 128). The padded border, which the original pads with the mean, differs by half a grey level.
    """
    (conv,) = graph.consumers(graph.inputs[0])
    weights = graph.constants[conv.inputs[1]][..., ::-1]
    graph.constants[conv.inputs[1]] = np.ascontiguousarray(weights)
    centre = 128.0 if mean else 0.0
    shift = (centre - mean) / std
    bias = graph.constants[conv.inputs[2]] + shift * weights.sum(axis=(1, 2, 3), dtype=np.float64)
    graph.constants[conv.inputs[2]] = bias.astype(np.float32)
    rename(graph, {graph.inputs[0]: "image"})


def scale_channels(graph: Graph, conv: Node, factors: Array) -> None:
    """Multiply the output channels of a convolution by `factors`."""
    weights, bias = conv.inputs[1], conv.inputs[2]
    shape = (-1, 1, 1, 1) if conv.kind == "CONV_2D" else (1, 1, 1, -1)
    graph.constants[weights] = (graph.constants[weights] * factors.reshape(shape)).astype(np.float32)
    graph.constants[bias] = (graph.constants[bias] * factors).astype(np.float32)


def scale_inputs(graph: Graph, conv: Node, factors: Array) -> None:
    """Multiply the contributions of the input channels of a convolution by `factors`."""
    weights = conv.inputs[1]
    graph.constants[weights] = (graph.constants[weights] * factors.reshape(1, 1, 1, -1)).astype(np.float32)


def merge_linear(graph: Graph) -> None:
    """Merge a 1x1 convolution without activation into the 1x1 convolution that is its only reader."""
    for first in [node for node in graph.nodes if _is_pointwise(graph, node)]:
        readers = graph.consumers(first.output)
        if first.options.fusedActivationFunction or len(readers) != 1 or not _is_pointwise(graph, readers[0]):
            continue
        second = readers[0]
        inner, outer = (graph.constants[n.inputs[1]][:, 0, 0].astype(np.float64) for n in (first, second))
        bias = outer @ graph.constants[first.inputs[2]] + graph.constants[second.inputs[2]]
        graph.constants[second.inputs[1]] = (outer @ inner)[:, None, None].astype(np.float32)
        graph.constants[second.inputs[2]] = bias.astype(np.float32)
        second.inputs[0] = first.inputs[0]
        graph.nodes.remove(first)
    tidy(graph)


def _is_pointwise(graph: Graph, node: Node) -> bool:
    return (
        node.kind == "CONV_2D"
        and graph.constants[node.inputs[1]].shape[1:3] == (1, 1)
        and node.options.strideH == node.options.strideW == 1
    )


def split_heads(graph: Graph) -> None:
    """Give each anchor layer its own boxes_<k> and scores_<k> instead of one concatenation of all layers."""
    outputs: dict[str, str] = {}
    for tensor in graph.outputs.values():
        head = graph.producer(tensor)
        if head is None:
            raise ModelError(f"{tensor}: no node has this output")
        for k, part in enumerate(head.inputs if head.kind == "CONCATENATION" else [tensor]):
            shape = graph.shapes[part]
            outputs[f"{'scores' if shape[-1] == 1 else 'boxes'}_{k}"] = part
    graph.outputs = outputs
    for node in graph.nodes:
        if node.kind == "RESHAPE":
            node.options.newShape = list(graph.shapes[node.output])
    tidy(graph)


def centre_output(graph: Graph, role: str, centre: Array) -> None:
    """Make the last convolution compute the deviation from a constant, and add the constant with a final ADD.

    The int8 scale then covers the deviations instead of the values; the ADD must stay in float.
    """
    tensor = graph.outputs[role]
    head = graph.producer(tensor)
    if head is None or head.kind != "CONV_2D":
        raise ModelError(f"{role}: only the output of a convolution can be centred")
    head.output = f"{tensor}_deviation"
    graph.shapes[head.output] = graph.shapes[tensor]
    bias, constant = head.inputs[2], f"{tensor}_centre"
    graph.constants[bias] = graph.constants[bias] - centre.astype(np.float32)
    graph.constants[constant] = centre.astype(np.float32).reshape(graph.shapes[tensor])
    graph.nodes.append(Node("ADD", [head.output, constant], tensor, schema.AddOptionsT()))
    tidy(graph)


def shift_output(graph: Graph, role: str, shift: Array) -> None:
    """Add a constant per channel to an output, in the bias of its convolution."""
    node = graph.producer(graph.outputs[role])
    while node is not None and node.kind not in CONVOLUTIONS:
        node = graph.producer(node.inputs[0])
    if node is None:
        raise ModelError(f"{role}: not the output of a convolution")
    bias = node.inputs[2]
    graph.constants[bias] = (graph.constants[bias] + shift).astype(np.float32)


def name_outputs(graph: Graph, roles: tuple[str, ...]) -> None:
    """Name the outputs by role, in the order of the file."""
    graph.outputs = dict(zip(roles, graph.outputs.values(), strict=True))


def name_tensors(graph: Graph) -> None:
    """Name tensors by number and kind (n007_conv_2d, n007_weights), reproducibly; outputs by role."""
    tidy(graph)
    names: dict[str, str] = {}
    for number, node in enumerate(graph.nodes):
        names[node.output] = f"n{number:03d}_{node.kind.lower()}"
        parts = [t for t in node.inputs if t in graph.constants]
        roles = ("weights", "bias") if node.kind in CONVOLUTIONS else ("constant",)
        names.update({t: f"n{number:03d}_{role}" for t, role in zip(parts, roles, strict=False)})
    names.update({tensor: role for role, tensor in graph.outputs.items()})
    rename(graph, names)


# PReLU is supported neither by the quantizer nor by the int8 path of XNNPACK. Doors run it in float32 between int8
# convolutions, see `recipe.Recipe.floating`. Fully integer models, for an Edge TPU, use `prelu_as_max`, or
# `prelu_as_add` if slopes are above 1. docs/lab/quantization.md lists other forms and their times.


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
    """Change PRELU slopes to -1..1 if there is a convolution before and after.

    PReLU_a(x) = -a PReLU_{1/a}(-x) for a > 0, and |a| PReLU_{1/a}(-x) for a < 0: the convolution before gets the sign,
    and the convolution after gets the factor.
    """
    for prelu in [node for node in graph.nodes if node.kind == "PRELU"]:
        before, readers = graph.producer(prelu.inputs[0]), graph.consumers(prelu.output)
        if before is None or len(readers) != 1 or not {before.kind, readers[0].kind} <= {*CONVOLUTIONS}:
            continue
        slope = graph.constants[prelu.inputs[1]].reshape(-1)
        steep = np.abs(slope) > 1
        scale_channels(graph, before, np.where(steep, -1.0, 1.0))
        scale_inputs(graph, readers[0], np.where(steep, -slope, 1.0))
        folded = np.where(steep, 1 / np.where(steep, slope, 1.0), slope)
        graph.constants[prelu.inputs[1]] = folded.reshape(1, 1, -1).astype(np.float32)


def prelu_as_max(graph: Graph) -> None:
    """PReLU(x) = max(x, a x) for slopes up to 1: a depthwise 1x1 convolution and a MAXIMUM; steeper layers are kept."""
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
    """PReLU(x) = x + relu((a - 1) x) for slopes up to 1; steeper channels need one more node for the sign."""
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
