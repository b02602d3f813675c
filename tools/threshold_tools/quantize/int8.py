"""Quantizes a float graph with its ranges to an int8 file in canonical form, with ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Collection

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from edge.core.errors import ModelError
from threshold_tools.quantize.graph import Graph, Node, pack, write_graph

Ranges = dict[str, tuple[float, float]]
EVERYTHING = qtyping.TFLOperationName.ALL_SUPPORTED


def quantize(graph: Graph, ranges: Ranges, *, float_heads: bool, floating: Collection[str] = ()) -> bytes:
    """The int8 file of `graph`: weights int8 per channel, input int8, outputs int8 or, with `float_heads`, float32.

    Args:
        graph: graph of operations that int8 kernels support, except those left in float32.
        ranges: lowest and highest value of every tensor between the nodes; those of replaced PRELUs are derived.
        float_heads: whether the outputs, and the convolutions that make them, stay in float32.
        floating: kinds of operations that stay in float32.

    Raises:
        ModelError: a tensor has no range.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    ranges = _with_derived_ranges(graph, ranges)
    missing = [node.output for node in graph.nodes if node.output not in ranges and _is_rounded(graph, node, floating)]
    if missing:
        raise ModelError(
            f"no range for {missing[0]} and {len(missing) - 1} more tensors; measure again with --calibrate"
        )
    work = quantizer.Quantizer(write_graph(graph))
    work.add_static_config(regex=".*", operation_name=EVERYTHING, activation_num_bits=8, weight_num_bits=8)
    for kind in sorted(
        set(floating) & set(qtyping.TFLOperationName.__members__)
    ):  # the quantizer leaves unknown kinds in float
        work.update_quantization_recipe(".*", qtyping.TFLOperationName[kind], algorithm_key=AlgorithmName.NO_QUANTIZE)
    if float_heads:
        output = qtyping.TFLOperationName.OUTPUT
        work.update_quantization_recipe(".*", output, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for tensor in _head_tensors(graph) if float_heads else ():
        work.update_quantization_recipe(f"^{tensor};?$", EVERYTHING, algorithm_key=AlgorithmName.NO_QUANTIZE)
    statistics = {
        tensor: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
        for tensor, (low, high) in ranges.items()
    }
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
    ):  # progress bars and debug warnings of the quantizer
        warnings.simplefilter("ignore")
        result = work.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    return _canonical_bytes(bytes(result.quantized_model))


def _with_derived_ranges(graph: Graph, ranges: Ranges) -> Ranges:
    """The ranges, with those of nodes that the rewrites add or put in the place of a PRELU.

    x, a x and max(x, a x) get one range: MAXIMUM compares stored values, so another range would round x again. A term
    that is added to x to get y has the extremes of y - x.
    """
    known = dict(ranges)
    for node in graph.nodes:
        if node.kind == "RESHAPE" and node.output not in known and node.inputs[0] in known:
            known[node.output] = known[node.inputs[0]]
        if node.kind not in ("MAXIMUM", "ADD") or node.output not in known or node.inputs[0] not in known:
            continue
        (x_low, x_high), (y_low, y_high) = known[node.inputs[0]], known[node.output]
        if node.kind == "MAXIMUM":
            known.update(dict.fromkeys((node.output, *node.inputs), (min(x_low, y_low), max(x_high, y_high))))
            continue
        part = graph.producer(node.inputs[1])
        while part is not None and part.output not in known:
            most = max(y_high - x_low, x_high - y_low)
            known[part.output] = (0.0 if part.options.fusedActivationFunction else -most, most)
            part = graph.producer(part.inputs[0])
    return known


def _is_rounded(graph: Graph, node: Node, floating: Collection[str]) -> bool:
    """Whether the result of a node is stored in int8, as output or as input of a reader."""
    readers = graph.consumers(node.output)
    return node.kind not in floating or not readers or any(reader.kind not in floating for reader in readers)


def _head_tensors(graph: Graph) -> list[str]:
    """The outputs, and the inputs of a RESHAPE before an output."""
    tensors = []
    for tensor in graph.outputs.values():
        tensors.append(tensor)
        head = graph.producer(tensor)
        if head is not None and head.kind == "RESHAPE":
            tensors.append(head.inputs[0])
    return tensors


def _canonical_bytes(content: bytes) -> bytes:
    """The same model with input and outputs named by role, and every buffer used once and stored in the flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    subgraph, signature = model.subgraphs[0], model.signatureDefs[0]
    for entry in (*signature.inputs, *signature.outputs):
        role = b"image" if entry in signature.inputs else entry.name
        for tensor in subgraph.tensors:
            if tensor.name == role:
                tensor.name = role + b"_inner"
        subgraph.tensors[entry.tensorIndex].name = role
    buffers = [schema.BufferT()]
    for tensor in subgraph.tensors:
        buffer = copy.copy(model.buffers[tensor.buffer])
        if buffer.offset:
            buffer.data = np.frombuffer(content[buffer.offset : buffer.offset + buffer.size], np.uint8)
            buffer.offset = buffer.size = 0
        if buffer.data is None or len(buffer.data) == 0:
            tensor.buffer = 0
        else:
            tensor.buffer = len(buffers)
            buffers.append(buffer)
    model.buffers, model.metadata, model.description = buffers, None, b"threshold"
    return pack(model)
