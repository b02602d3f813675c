"""From a float graph and its ranges to an int8 file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from support.small_network import fold_and_maximise, outputs_of, picture, ranges_of, small_network
from threshold_tools.quantize import rewrite
from threshold_tools.quantize.graph import Graph
from threshold_tools.quantize.int8 import quantize
from threshold_tools.quantize.runner import ModelRunner

from edge.core.errors import ModelError


def int8_of(graph: Graph) -> bytes:
    """The small network in int8, ranges from a few pictures."""
    graph = graph.copy()
    rewrite.fuse_relu(graph)
    fold_and_maximise(graph)
    return quantize(graph, ranges_of(graph), float_heads=False)


def test_int8_is_deterministic_and_near_the_float_result() -> None:
    """Twice the same bytes; the byte XOR 0x80 as input; within a few steps of the float result."""
    graph = small_network(seed=4, steepest=3)
    content = int8_of(graph)
    assert content == int8_of(graph)
    runner = ModelRunner(content)
    kinds = [code.builtinCode for code in schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes]
    assert schema.BuiltinOperator.MAXIMUM in kinds
    assert schema.BuiltinOperator.QUANTIZE not in kinds  # x, a x and their maximum share one scale
    assert runner.input["dtype"] is np.int8
    assert runner.input["quantization"] == (pytest.approx(1 / 128), 0)
    expected = outputs_of(graph, picture(3))
    assert np.abs(runner(picture(3))["result"] - expected).max() < 0.05 * np.ptp(expected)


def test_float_operations_reduce_the_error() -> None:
    """PRELU and ADD between int8 convolutions: no range beyond those of the graph itself, and fewer roundings."""
    graph = small_network(seed=4, steepest=3)
    rewrite.fuse_relu(graph)
    rewrite.fold_steep_slopes(graph)
    ranges = ranges_of(graph)
    expected = outputs_of(graph, picture(3))
    whole = graph.copy()
    rewrite.prelu_as_max(whole)
    kinds, errors = [], []
    for form, floating in ((graph, ("PRELU", "ADD")), (whole, ())):
        content = quantize(form, ranges, float_heads=False, floating=floating)
        codes = schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes
        kinds.append(
            {code.builtinCode for code in codes} & {schema.BuiltinOperator.PRELU, schema.BuiltinOperator.MAXIMUM}
        )
        errors.append(np.abs(ModelRunner(content)(picture(3))["result"] - expected).mean())
    assert kinds == [{schema.BuiltinOperator.PRELU}, {schema.BuiltinOperator.MAXIMUM}]
    assert errors[0] < errors[1]


def test_a_missing_range_is_named() -> None:
    """Ranges of another graph are refused."""
    graph = small_network(seed=1, steepest=1)
    rewrite.prelu_as_max(graph)
    ranges = {node.output: (-1.0, 1.0) for node in graph.nodes[5:]}
    with pytest.raises(ModelError, match="no range for a and 4 more tensors; measure again with --calibrate"):
        quantize(graph, ranges, float_heads=False)
