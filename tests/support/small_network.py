"""A small float network for tests of rewriting and quantization."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from threshold_tools.quantize import rewrite
from threshold_tools.quantize.graph import Array, Graph, Node
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.runner import float_runner

from edge.core.records import BgrImage

IMAGE_RANGE = (-1.0, 127 / 128)
SIDE = 16


def conv(random: np.random.Generator, graph: Graph, source: str, output: str, channels: int, kernel: int = 1) -> None:
    """Append a convolution with random weights, stride 1, SAME padding."""
    before = graph.shapes[source]
    graph.constants[f"{output}_w"] = random.normal(0, 0.5, (channels, kernel, kernel, before[-1])).astype(np.float32)
    graph.constants[f"{output}_b"] = random.normal(0, 0.5, channels).astype(np.float32)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    graph.nodes.append(Node("CONV_2D", [source, f"{output}_w", f"{output}_b"], output, options))
    graph.shapes[output] = (*before[:3], channels)


def activation(graph: Graph, kind: str, source: str, output: str, slopes: Array | None = None) -> None:
    """Append a RELU or a PRELU."""
    inputs = [source]
    if slopes is not None:
        graph.constants[f"{output}_slope"] = slopes.reshape(1, 1, -1).astype(np.float32)
        inputs.append(f"{output}_slope")
    graph.nodes.append(Node(kind, inputs, output))
    graph.shapes[output] = graph.shapes[source]


def add(graph: Graph, one: str, other: str, output: str) -> None:
    """Append an ADD."""
    graph.nodes.append(Node("ADD", [one, other], output, schema.AddOptionsT()))
    graph.shapes[output] = graph.shapes[other]


def small_network(seed: int, steepest: float) -> Graph:
    """Convolution, PRELU, convolution, PRELU, and a residual block whose shortcut is padded with zero channels."""
    random = np.random.default_rng(seed)
    graph = Graph([], {}, {"image": (1, SIDE, SIDE, 3)}, ["image"])
    conv(random, graph, "image", "a", 8, kernel=3)
    activation(graph, "PRELU", "a", "b", random.uniform(-steepest, steepest, 8))
    conv(random, graph, "b", "c", 6)
    activation(graph, "PRELU", "c", "d", random.uniform(-steepest, steepest, 6))
    conv(random, graph, "d", "e", 4)
    conv(random, graph, "e", "f", 7)
    graph.constants["pads"] = np.array([[0, 0], [0, 0], [0, 0], [0, 3]], np.int32)
    graph.nodes.append(Node("PAD", ["e", "pads"], "g", schema.PadOptionsT()))
    graph.shapes["g"] = graph.shapes["f"]
    add(graph, "g", "f", "h")
    activation(graph, "RELU", "h", "i")
    conv(random, graph, "i", "result", 5)
    graph.outputs = {"result": "result"}
    return graph


def picture(seed: int, side: int = SIDE) -> BgrImage:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def outputs_of(graph: Graph, image: BgrImage) -> Array:
    return float_runner(graph, IMAGE_RANGE)(image)["result"]


def assert_same_function(one: Graph, other: Graph) -> None:
    """Assert equal outputs on random pictures, up to float rounding."""
    for seed in range(3):
        expected = outputs_of(one, picture(seed))
        np.testing.assert_allclose(outputs_of(other, picture(seed)), expected, atol=2e-5 * np.abs(expected).max())


def fold_and_maximise(graph: Graph) -> None:
    rewrite.fold_steep_slopes(graph)
    rewrite.prelu_as_max(graph)
    assert "PRELU" not in {node.kind for node in graph.nodes}


def ranges_of(graph: Graph) -> Ranges:
    """Return activation ranges from a few pictures."""
    watching = float_runner(graph, IMAGE_RANGE, watch=True)
    runs = [watching(picture(seed, graph.shapes["image"][1])) for seed in range(8)]
    ranges = {t: (min(float(r[t].min()) for r in runs), max(float(r[t].max()) for r in runs)) for t in runs[0]}
    return {**ranges, "image": IMAGE_RANGE}


def flipped_weight(content: bytes) -> bytes:
    """Return the file with one flipped bit in a weight of its tenth operation."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    subgraph = model.subgraphs[0]
    operator = next(o for o in subgraph.operators[10:] if len(o.inputs) == 3)
    data = bytes(model.buffers[subgraph.tensors[operator.inputs[1]].buffer].data)
    at = content.index(data) + 7
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
