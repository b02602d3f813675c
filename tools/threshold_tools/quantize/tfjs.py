"""A TensorFlow.js graph model, its topology and its weights, as the same list of nodes as a TFLite file.

Only what small image networks consist of: convolutions and products with their biases and RELU fused, the largest of a
window, per-channel products and sums, flattening, and a sigmoid or softmax at the end.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.core.errors import ModelError
from threshold_tools.quantize.graph import Array, Graph, Node, tidy
from threshold_tools.quantize.rewrite import RELU

_PADDING: dict[bytes, int] = {b"SAME": schema.Padding.SAME, b"VALID": schema.Padding.VALID}
_Two = tuple[int, int]  # rows and columns


class _List(msgspec.Struct, frozen=True):
    s: list[str] = []
    i: list[str] = []


class _Value(msgspec.Struct, frozen=True):
    s: str = ""
    list: _List = _List()


class _Operation(msgspec.Struct):
    name: str
    op: str
    input: list[str] = []
    attr: dict[str, _Value] = {}

    @property
    def fused(self) -> set[bytes]:
        """What is done to the result: BiasAdd, Relu."""
        return {base64.b64decode(each) for each in self.attr["fused_ops"].list.s}

    @property
    def padding(self) -> int:
        return _PADDING[base64.b64decode(self.attr["padding"].s)]

    def pair(self, key: str) -> _Two:
        """Rows and columns of a (1, rows, columns, 1) attribute."""
        _, rows, columns, _ = (int(each) for each in self.attr[key].list.i)
        return rows, columns


class _Topology(msgspec.Struct):
    node: list[_Operation]


class _Size(msgspec.Struct):
    size: str


class _Shape(msgspec.Struct):
    dim: list[_Size]


class _Input(msgspec.Struct):
    tensor_shape: _Shape = msgspec.field(name="tensorShape")


class _Signature(msgspec.Struct):
    inputs: dict[str, _Input]


class _Entry(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    quantization: dict[str, str] = {}


class _Group(msgspec.Struct):
    weights: list[_Entry]


class _Model(msgspec.Struct):
    signature: _Signature
    topology: _Topology = msgspec.field(name="modelTopology")
    manifest: list[_Group] = msgspec.field(name="weightsManifest")


_Reader = Callable[[Graph, _Operation], Node]


def read_tfjs(topology: bytes, weights: bytes) -> Graph:
    """The float graph, batch 1, of a model.json and the one file of weights that belongs to it.

    Raises:
        ModelError: not such a model, or an operation that is not known here.
    """
    try:
        model = msgspec.json.decode(topology, type=_Model)
    except msgspec.MsgspecError as error:
        raise ModelError(f"not a TensorFlow.js graph model ({error}); fetch it again") from error
    (name, into), *others = model.signature.inputs.items()
    if others:
        raise ModelError(f"{1 + len(others)} inputs, this tool reads networks with one")
    _, *sides = (int(each.size) for each in into.tensor_shape.dim)
    graph = Graph([], unpack(model.manifest, weights), {name: (1, *sides)}, [name])
    same: dict[str, str] = {}  # what an Identity gives -> what it reads
    for operation in model.topology.node:
        operation.input = [same.get(tensor, tensor) for tensor in operation.input]
        if operation.op in ("Const", "Placeholder"):
            continue
        if operation.op == "Identity":
            same[operation.name] = operation.input[0]
            continue
        if operation.op not in _READERS:
            raise ModelError(f"{operation.name}: {operation.op} is not known here")
        graph.nodes.append(_READERS[operation.op](graph, operation))
    graph.outputs = {"output_0": graph.nodes[-1].output}
    tidy(graph)
    return graph


def unpack(manifest: list[_Group], content: bytes) -> dict[str, Array]:
    """The constants by name, float16 ones as float32: they lie one after another in the file.

    Raises:
        ModelError: the file is shorter or longer than they are.
    """
    found: dict[str, Array] = {}
    place = 0
    for entry in (entry for group in manifest for entry in group.weights):
        kind, count = np.dtype(entry.quantization.get("dtype", entry.dtype)), math.prod(entry.shape)
        if place + count * kind.itemsize > len(content):
            raise ModelError(f"{entry.name}: the file of weights ends before it")
        values: Array = np.frombuffer(content, kind, count, place).reshape(entry.shape)
        found[entry.name] = values.astype(np.float32) if kind == np.float16 else values
        place += count * kind.itemsize
    if place != len(content):
        raise ModelError(f"the file of weights has {len(content)} bytes, its list says {place}")
    return found


def _convolution(graph: Graph, operation: _Operation) -> Node:
    source, kernel, bias = operation.input
    options = schema.Conv2DOptionsT()
    options.padding = operation.padding
    options.strideH, options.strideW = strides = operation.pair("strides")
    options.fusedActivationFunction = RELU if b"Relu" in operation.fused else 0
    if operation.pair("dilations") != (1, 1):
        raise ModelError(f"{operation.name}: its kernel has gaps, which is not known here")
    weights = graph.constants[kernel].transpose(3, 0, 1, 2)
    swept = _swept(graph.shapes[source], weights.shape[1:3], strides, options.padding)
    graph.shapes[operation.name] = (*swept, weights.shape[0])
    return Node("CONV_2D", [source, _own(graph, operation, weights), bias], operation.name, options)


def _largest(graph: Graph, operation: _Operation) -> Node:
    (source,) = operation.input
    options = schema.Pool2DOptionsT()
    options.padding = operation.padding
    options.strideH, options.strideW = strides = operation.pair("strides")
    options.filterHeight, options.filterWidth = reach = operation.pair("ksize")
    swept = _swept(graph.shapes[source], reach, strides, options.padding)
    graph.shapes[operation.name] = (*swept, graph.shapes[source][-1])
    return Node("MAX_POOL_2D", [source], operation.name, options)


def _product(graph: Graph, operation: _Operation) -> Node:
    source, kernel, bias = operation.input
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = RELU if b"Relu" in operation.fused else 0
    weights = graph.constants[kernel].T
    graph.shapes[operation.name] = (1, weights.shape[0])
    return Node("FULLY_CONNECTED", [source, _own(graph, operation, weights), bias], operation.name, options)


def _flattened(graph: Graph, operation: _Operation) -> Node:
    source = operation.input[0]
    options = schema.ReshapeOptionsT()
    options.newShape = [1, math.prod(graph.shapes[source])]
    graph.shapes[operation.name] = tuple(options.newShape)
    return Node("RESHAPE", [source], operation.name, options)


def _of_same_shape(kind: str, options: Callable[[], object] = lambda: None) -> _Reader:
    def read(graph: Graph, operation: _Operation) -> Node:
        graph.shapes[operation.name] = graph.shapes[operation.input[0]]
        return Node(kind, list(operation.input), operation.name, options())

    return read


def _softmax() -> object:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return options


_READERS: dict[str, _Reader] = {
    "_FusedConv2D": _convolution,
    "_FusedMatMul": _product,
    "MaxPool": _largest,
    "Reshape": _flattened,
    "Relu": _of_same_shape("RELU"),
    "Mul": _of_same_shape("MUL", schema.MulOptionsT),
    "Add": _of_same_shape("ADD", schema.AddOptionsT),
    "AddV2": _of_same_shape("ADD", schema.AddOptionsT),
    "Sigmoid": _of_same_shape("LOGISTIC"),
    "Softmax": _of_same_shape("SOFTMAX", _softmax),
}


def _own(graph: Graph, operation: _Operation, weights: Array) -> str:
    """The name of an operation's weights as TFLite lays them out."""
    name = f"{operation.name}/weights"
    graph.constants[name] = np.ascontiguousarray(weights)
    return name


def _swept(shape: tuple[int, ...], reach: tuple[int, ...], strides: _Two, padding: int) -> tuple[int, int, int]:
    """Batch, rows and columns of what a window gives that is moved over a picture."""
    rows, columns = (
        -(-size // step) if padding == schema.Padding.SAME else (size - over) // step + 1
        for size, over, step in zip(shape[1:3], reach, strides, strict=True)
    )
    return 1, rows, columns
