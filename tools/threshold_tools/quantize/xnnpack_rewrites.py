"""Rewrites of a float graph for the kernels of XNNPACK that keep its function; the last steps before quantizing.

The int8 kernels read channels in groups of 8 and write them in groups of 16. Three input channels therefore cost the
same as eight, and 24 output channels the same as 32. docs/lab/quantization.md lists times.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from threshold_tools.quantize.graph import Graph, Node, tidy

_LANES = 16  # channels that int8 kernels write together
_MANY = 1000  # pixels; from this number, padding costs more than additional channels
_WIDENABLE = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MAX_POOL_2D", "PAD")
_SAME, _VALID = schema.Padding.SAME, schema.Padding.VALID


def pair_columns(graph: Graph) -> None:
    """Make the first convolution, of stride 2, read two pixels of three channels as one pixel of six."""
    (conv,) = graph.consumers(graph.inputs[0])
    _, height, width, channels = graph.shapes[graph.inputs[0]]
    weights = graph.constants[conv.inputs[1]]
    out, rows, columns, _ = weights.shape
    if conv.kind != "CONV_2D" or conv.options.strideW != 2 or conv.options.padding != _SAME or width % 2:
        return
    left = max(width - 2 + columns - width, 0) // 2  # columns that SAME padding adds
    pairs = (left + 1) // 2 + (columns - left + 1) // 2
    paired = np.zeros((out, rows, 2 * pairs, channels), np.float32)
    start = 2 * ((pairs - 1) // 2) - left
    paired[:, :, start : start + columns] = weights
    graph.constants[conv.inputs[1]] = paired.reshape(out, rows, pairs, 2 * channels)
    conv.options.strideW = 1
    conv.inputs[0] = f"{graph.inputs[0]}_pairs"
    graph.shapes[conv.inputs[0]] = (1, height, width // 2, 2 * channels)
    options = schema.ReshapeOptionsT(list(graph.shapes[conv.inputs[0]]))
    graph.nodes.insert(0, Node("RESHAPE", [graph.inputs[0]], conv.inputs[0], options))


def pad_early(graph: Graph) -> None:
    """Add channels of zeros in earlier convolutions, where they cost no time, instead of padding them later."""
    for pad in [node for node in graph.nodes if node.kind == "PAD"]:
        _, height, width, after = graph.shapes[pad.output]
        source = pad.inputs[0]
        before = graph.shapes[source][-1]
        padded = graph.shapes[source][:-1] == graph.shapes[pad.output][:-1] and height * width >= _MANY
        if not padded or -(-before // _LANES) != -(-after // _LANES):
            continue
        wide: set[str] = set()
        if _spread(graph, source, wide, pad):
            _widen(graph, wide, after)
            for reader in graph.consumers(pad.output):
                reader.inputs = [source if tensor == pad.output else tensor for tensor in reader.inputs]
            graph.nodes.remove(pad)
    tidy(graph)


def _spread(graph: Graph, tensor: str, wide: set[str], end: Node) -> bool:
    """Collect the tensors that must have the same number of channels as `tensor`; return whether all can have more."""
    if tensor in wide:
        return True
    maker = graph.producer(tensor)
    if maker is None or tensor in graph.outputs.values():
        return False
    wide.add(tensor)
    near = [] if maker.kind in ("CONV_2D", "PAD") else [t for t in maker.inputs if t in graph.shapes]
    for reader in graph.consumers(tensor):
        if reader is not end and reader.kind not in ("CONV_2D", "PAD"):
            near.append(reader.output)
        if reader.kind not in _WIDENABLE:
            return False
    return maker.kind in _WIDENABLE and all(_spread(graph, each, wide, end) for each in near)


def _widen(graph: Graph, wide: set[str], channels: int) -> None:
    """Add channels of zeros to these tensors up to this number."""
    more = {tensor: channels - graph.shapes[tensor][-1] for tensor in wide}
    for node in graph.nodes:
        made, read = more.get(node.output, 0), more.get(node.inputs[0], 0)
        if node.kind == "PAD":
            amounts = graph.constants[node.inputs[1]].copy()
            amounts[-1, 1] += made - read
            graph.constants[node.inputs[1]] = amounts
        elif node.kind == "CONV_2D":
            _extend(graph, node.inputs[1], 0, made)
            _extend(graph, node.inputs[1], 3, read)
            _extend(graph, node.inputs[2], 0, made)
        elif node.kind == "DEPTHWISE_CONV_2D":
            _extend(graph, node.inputs[1], 3, made)
            _extend(graph, node.inputs[2], 0, made)
    for tensor in wide:
        graph.shapes[tensor] = (*graph.shapes[tensor][:-1], channels)


def _extend(graph: Graph, constant: str, axis: int, more: int) -> None:
    values = graph.constants[constant]
    amounts = [(0, more if at == axis else 0) for at in range(values.ndim)]
    graph.constants[constant] = np.pad(values, amounts)


def multiply_and_average(graph: Graph) -> None:
    """Replace a depthwise convolution over the whole picture by a product, a mean and a sum.

    XNNPACK has no depthwise kernel with more than 25 taps, and would process one channel after another.
    """
    for node in [node for node in graph.nodes if node.kind == "DEPTHWISE_CONV_2D"]:
        weights = graph.constants[node.inputs[1]]
        source = node.inputs[0]
        if weights.shape != graph.shapes[source] or node.options.padding != _VALID:
            continue
        product, mean, axes = (f"{node.output}_{name}" for name in ("product", "mean", "axes"))
        graph.constants[node.inputs[1]] = weights * np.float32(weights.shape[1] * weights.shape[2])
        graph.constants[node.inputs[2]] = graph.constants[node.inputs[2]].reshape(1, 1, 1, -1)
        graph.constants[axes] = np.array([1, 2], np.int32)
        graph.shapes[product], graph.shapes[mean] = graph.shapes[source], graph.shapes[node.output]
        keep = schema.ReducerOptionsT(keepDims=True)
        at = graph.nodes.index(node)
        graph.nodes[at : at + 1] = [
            Node("MUL", [source, node.inputs[1]], product, schema.MulOptionsT()),
            Node("MEAN", [product, axes], mean, keep),
            Node("ADD", [mean, node.inputs[2]], node.output, schema.AddOptionsT()),
        ]
