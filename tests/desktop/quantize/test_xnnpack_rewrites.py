"""Rewrites that suit XNNPACK's kernels: the same function, in int8 to the last bit where only zeros are added."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from support.small_network import add, conv, outputs_of, picture, ranges_of
from threshold_tools.quantize import rewrite, xnnpack_rewrites
from threshold_tools.quantize.graph import Graph, Node
from threshold_tools.quantize.int8 import quantize
from threshold_tools.quantize.runner import ModelRunner

SIDE = 80


def depthwise(graph: Graph, source: str, output: str, kernel: int, padding: int) -> None:
    """Append a depthwise convolution, stride 1."""
    random = np.random.default_rng(kernel)
    _, height, width, channels = graph.shapes[source]
    graph.constants[f"{output}_w"] = random.normal(0, 0.3, (1, kernel, kernel, channels)).astype(np.float32)
    graph.constants[f"{output}_b"] = random.normal(0, 0.3, channels).astype(np.float32)
    options = schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.depthMultiplier = 1
    options.dilationWFactor = options.dilationHFactor = 1
    options.padding = padding
    graph.nodes.append(Node("DEPTHWISE_CONV_2D", [source, f"{output}_w", f"{output}_b"], output, options))
    less = 0 if padding == schema.Padding.SAME else kernel - 1
    graph.shapes[output] = (1, height - less, width - less, channels)


def network(kernel: int) -> Graph:
    """A convolution of stride 2 and two residual blocks, the shortcut of the second padded with channels of zeros."""
    random = np.random.default_rng(kernel)
    graph = Graph([], {}, {"image": (1, SIDE, SIDE, 3)}, ["image"])
    conv(random, graph, "image", "a", 9, kernel=kernel)
    graph.nodes[0].options.strideW = graph.nodes[0].options.strideH = 2
    graph.shapes["a"] = (1, SIDE // 2, SIDE // 2, 9)
    depthwise(graph, "a", "b", 3, schema.Padding.SAME)
    conv(random, graph, "b", "c", 9)
    add(graph, "a", "c", "d")
    depthwise(graph, "d", "e", 3, schema.Padding.SAME)
    conv(random, graph, "e", "f", 12)
    graph.constants["pads"] = np.array([[0, 0], [0, 0], [0, 0], [0, 3]], np.int32)
    graph.nodes.append(Node("PAD", ["d", "pads"], "g", schema.PadOptionsT()))
    graph.shapes["g"] = graph.shapes["f"]
    add(graph, "g", "f", "h")
    conv(random, graph, "h", "result", 5)
    graph.outputs = {"result": "result"}
    return graph


def kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes]


@pytest.mark.parametrize("kernel", [3, 5])
def test_pairs_of_columns_and_early_zeros_change_no_bit(kernel: int) -> None:
    graph = network(kernel)
    ranges = ranges_of(graph)
    changed = graph.copy()
    xnnpack_rewrites.pair_columns(changed)
    xnnpack_rewrites.pad_early(changed)
    assert "PAD" in kinds(graph)
    assert "PAD" not in kinds(changed)
    assert changed.shapes["image_pairs"] == (1, SIDE, SIDE // 2, 6)
    assert changed.shapes["d"] == graph.shapes["h"]
    one, other = (ModelRunner(quantize(each, ranges, float_heads=False)) for each in (graph, changed))
    for seed in range(3):
        image = picture(seed, SIDE)
        np.testing.assert_array_equal(one(image)["result"], other(image)["result"])


def test_expensive_padding_is_kept() -> None:
    """More than sixteen channels would need another block of weights."""
    graph = network(3)
    graph.constants["pads"][-1, 1] = 30
    graph.shapes["g"] = (*graph.shapes["g"][:-1], 39)
    xnnpack_rewrites.pad_early(graph)
    assert "PAD" in kinds(graph)


def test_global_depthwise_convolution_becomes_a_mean() -> None:
    graph = Graph([], {}, {"image": (1, 8, 8, 3)}, ["image"])
    conv(np.random.default_rng(0), graph, "image", "a", 6)
    depthwise(graph, "a", "b", 8, schema.Padding.VALID)
    depthwise(graph, "a", "c", 3, schema.Padding.SAME)
    conv(np.random.default_rng(1), graph, "b", "result", 5)
    graph.outputs = {"result": "result"}
    changed = graph.copy()
    xnnpack_rewrites.multiply_and_average(changed)
    rewrite.name_tensors(changed)
    assert kinds(changed) == ["CONV_2D", "MUL", "MEAN", "ADD", "CONV_2D"]
    for seed in range(3):
        expected = outputs_of(graph, picture(seed, 8))
        np.testing.assert_allclose(outputs_of(changed, picture(seed, 8)), expected, atol=2e-5 * np.abs(expected).max())
