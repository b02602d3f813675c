"""Rewrites of a float graph keep its function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from support.small_network import (
    IMAGE_RANGE,
    SIDE,
    activation,
    assert_same_function,
    conv,
    fold_and_maximise,
    outputs_of,
    picture,
    small_network,
)
from threshold_tools.quantize import rewrite
from threshold_tools.quantize.equalize import equalize, plan
from threshold_tools.quantize.graph import Graph, Node, rename
from threshold_tools.quantize.runner import float_runner


def fold(graph: Graph) -> None:
    rewrite.fold_steep_slopes(graph)
    assert max(np.abs(v).max() for name, v in graph.constants.items() if "slope" in name) <= 1


def equalized(graph: Graph) -> None:
    watching = float_runner(graph, IMAGE_RANGE, watch=True)
    seen = {t: np.abs(v.reshape(-1, v.shape[-1])).max(axis=0) for t, v in watching(picture(9)).items()}
    exponents = plan(graph, seen)
    assert any(any(row) for row in exponents.values())
    equalize(graph, exponents)


@pytest.mark.parametrize(
    "step",
    [
        rewrite.fuse_relu,
        rewrite.merge_linear,
        rewrite.name_tensors,
        fold,
        fold_and_maximise,
        rewrite.prelu_as_add,
        equalized,
    ],
)
def test_a_rewrite_keeps_the_function(step: Callable[[Graph], None]) -> None:
    """Slopes from -9 to 9, a residual stream, padded channels: after each rewrite the float result is the same."""
    graph = small_network(seed=1, steepest=9)
    if step is not rewrite.fuse_relu:
        rewrite.fuse_relu(graph)
    changed = graph.copy()
    step(changed)
    assert_same_function(graph, changed)


def test_a_centred_output_is_the_same_output() -> None:
    """The final ADD restores the part that the bias loses."""
    graph = Graph([], {}, {"image": (1, 1, 1, 3)}, ["image"])
    conv(np.random.default_rng(0), graph, "image", "result", 5)
    graph.outputs = {"result": "result"}
    changed = graph.copy()
    rewrite.centre_output(changed, "result", np.array([100, -50, 3, 0, 7]))
    image = picture(0, side=1)
    np.testing.assert_allclose(outputs_of(changed, image), outputs_of(graph, image), atol=2e-5)


def test_a_decomposed_prelu_becomes_one_node() -> None:
    """relu(x) + a/2 (x - |x|), as MobileFaceNet ships it, is recognised and means the same."""
    slopes = np.random.default_rng(3).uniform(-9, 9, 8)
    merged = Graph([], {}, {"image": (1, SIDE, SIDE, 3)}, ["image"], {"result": "result"})
    conv(np.random.default_rng(0), merged, "image", "x", 8)
    loose = merged.copy()
    activation(merged, "PRELU", "x", "result", slopes)
    activation(loose, "RELU", "x", "positive")
    loose.constants["half"] = (slopes / 2).astype(np.float32)
    loose.nodes += [
        Node("ABS", ["x"], "size", schema.AbsOptionsT()),
        Node("SUB", ["x", "size"], "negative", schema.SubOptionsT()),
        Node("MUL", ["half", "negative"], "scaled", schema.MulOptionsT()),
        Node("ADD", ["positive", "scaled"], "result", schema.AddOptionsT()),
    ]
    loose.shapes.update(dict.fromkeys(("size", "negative", "scaled", "result"), (1, SIDE, SIDE, 8)))
    rewrite.merge_prelus(loose)
    assert [node.kind for node in loose.nodes] == ["CONV_2D", "PRELU"]
    assert_same_function(merged, loose)


def test_input_takes_bgr_bytes() -> None:
    """After folding, BGR bytes give what normalised RGB gave; half a grey level went into the bias."""
    original = Graph([], {}, {"rgb": (1, SIDE, SIDE, 3)}, ["rgb"], {"result": "result"})
    conv(np.random.default_rng(0), original, "rgb", "result", 4)
    folded = original.copy()
    rewrite.fold_input(folded, mean=127.5, std=128.0)
    rename(original, {"rgb": "image"})
    image = picture(5)
    # (p - 127.5) / 128 from pixel values 0..255, fed to the original in RGB order
    expected = float_runner(original, (-127.5 / 128, 127.5 / 128))(np.ascontiguousarray(image[..., ::-1]))["result"]
    np.testing.assert_allclose(outputs_of(folded, image), expected, atol=2e-5)
