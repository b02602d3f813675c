"""TFLite files are read as graphs, old ones too."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from support.small_network import assert_same_function, small_network
from threshold_tools.quantize import rewrite
from threshold_tools.quantize.graph import pack, read_graph, rename, write_graph

from edge.core.errors import ModelError


def test_old_opcodes_and_float16_constants_are_read() -> None:
    """A file whose opcodes stand only in the deprecated field and whose weights are float16 reads as the same graph."""
    graph = small_network(seed=2, steepest=0.5)
    model = schema.ModelT.InitFromPackedBuf(write_graph(graph), 0)
    for code in model.operatorCodes:
        code.builtinCode = 0
    subgraph = model.subgraphs[0]
    weights = next(t for t in subgraph.tensors if t.name == b"a_w")
    half = graph.constants["a_w"].astype(np.float16)
    stored, buffer = schema.TensorT(), schema.BufferT()
    stored.name, stored.shape, stored.type, stored.buffer = b"half", list(half.shape), 1, len(model.buffers)
    buffer.data = np.frombuffer(half.tobytes(), np.uint8)
    model.buffers.append(buffer)
    subgraph.tensors.append(stored)
    weights.buffer = 0
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [len(subgraph.tensors) - 1], [subgraph.tensors.index(weights)]
    subgraph.operators.insert(0, operator)
    read = read_graph(pack(model))
    assert [node.kind for node in read.nodes] == [node.kind for node in graph.nodes]
    graph.constants["a_w"] = half.astype(np.float32)
    rewrite.name_outputs(read, ("result",))
    rewrite.name_tensors(read)
    rename(read, {read.inputs[0]: "image"})
    assert_same_function(graph, read)


def test_what_is_not_tflite_is_refused() -> None:
    """A text file is not a model."""
    with pytest.raises(ModelError, match="not a TFLite file"):
        read_graph(b"<html>404 not found</html>")
