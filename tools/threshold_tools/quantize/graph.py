"""Converts a TFLite file into a list of nodes that can be rewritten, and back.

Reading normalises special cases: opcodes that old files store only in `deprecated_builtin_code`, float16 constants
behind a DEQUANTIZE, and orphan tensors. Writing makes a file with one subgraph, one signature and no orphans.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edge.core.errors import ModelError

Array = NDArray[Any]

_OP_NAMES: dict[int, str] = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_DTYPES: dict[int, type] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT8: np.int8,
}
_TENSOR_TYPES: dict[type, int] = {v: k for k, v in _DTYPES.items()}


@dataclass(slots=True)
class Node:
    """One operation: `kind` is its TFLite name ("CONV_2D"), tensors are names, `options` are of TFLite or None."""

    kind: str
    inputs: list[str]
    output: str
    options: Any = None


@dataclass(slots=True)
class Graph:
    """A float network of single-output nodes."""

    nodes: list[Node]  # in execution order
    constants: dict[str, Array]  # weights, biases, slopes, paddings by tensor name
    shapes: dict[str, tuple[int, ...]]  # of every tensor that is not a constant
    inputs: list[str]  # tensor names, usually one
    outputs: dict[str, str] = field(default_factory=dict)  # role -> tensor name, in order

    def producer(self, tensor: str) -> Node | None:
        """The node with the output `tensor`; None for an input or a constant."""
        return next((node for node in self.nodes if node.output == tensor), None)

    def consumers(self, tensor: str) -> list[Node]:
        """The nodes that read `tensor`, in order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def copy(self) -> Graph:
        """A copy that can be rewritten without changing this graph."""
        nodes = [Node(n.kind, list(n.inputs), n.output, copy.copy(n.options)) for n in self.nodes]
        return Graph(nodes, dict(self.constants), dict(self.shapes), list(self.inputs), dict(self.outputs))


def unpack(content: bytes) -> Any:
    """Decode a TFLite file into the objects of its schema (`schema.ModelT`).

    Raises:
        ModelError: not a TFLite file, or several subgraphs.
    """
    if content[4:8] != b"TFL3":
        raise ModelError("not a TFLite file: the identifier TFL3 is missing; fetch it again")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        raise ModelError(f"{len(model.subgraphs)} subgraphs: only files with one are supported")
    return model


def kind_of(model: Any, operator: Any) -> str:
    """TFLite name of an operation; old files have it only in the deprecated field."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Shape of a TFLite tensor."""
    return () if tensor.shape is None else tuple(int(side) for side in tensor.shape)


def read_graph(content: bytes) -> Graph:
    """The graph of a float TFLite file, its tensors named t0, t1 … by their number in the file.

    Raises:
        ModelError: not a TFLite file, several subgraphs, or an operation with several outputs.
    """
    model = unpack(content)
    subgraph = model.subgraphs[0]
    graph = Graph([], {}, {}, [f"t{i}" for i in subgraph.inputs])
    for number, tensor in enumerate(subgraph.tensors):
        shape = shape_of(tensor)
        data = model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            graph.shapes[f"t{number}"] = shape
        else:
            values: Array = np.asarray(data, np.uint8).view(_DTYPES[tensor.type]).reshape(shape)
            graph.constants[f"t{number}"] = values.astype(np.float32) if values.dtype == np.float16 else values
    for operator in subgraph.operators:
        kind = kind_of(model, operator)
        if len(operator.outputs) != 1:
            raise ModelError(f"{kind} has {len(operator.outputs)} outputs: only nodes with one are supported")
        node = Node(kind, [f"t{i}" for i in operator.inputs], f"t{operator.outputs[0]}", operator.builtinOptions)
        if kind == "DEQUANTIZE" and node.inputs[0] in graph.constants:
            graph.constants[node.output] = graph.constants.pop(node.inputs[0])
            graph.shapes.pop(node.output)
        else:
            graph.nodes.append(node)
    graph.outputs = {f"output_{k}": f"t{i}" for k, i in enumerate(subgraph.outputs)}
    return graph


def rename(graph: Graph, names: dict[str, str]) -> None:
    """Rename tensors everywhere in the graph."""

    def new(tensor: str) -> str:
        return names.get(tensor, tensor)

    for node in graph.nodes:
        node.inputs, node.output = [new(t) for t in node.inputs], new(node.output)
    graph.constants = {new(t): v for t, v in graph.constants.items()}
    graph.shapes = {new(t): v for t, v in graph.shapes.items()}
    graph.inputs = [new(t) for t in graph.inputs]
    graph.outputs = {role: new(t) for role, t in graph.outputs.items()}


def tidy(graph: Graph) -> None:
    """Remove nodes without readers and unused tensors."""
    needed = set(graph.outputs.values())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            kept.append(node)
            needed.update(node.inputs)
    graph.nodes = kept[::-1]
    graph.constants = {t: v for t, v in graph.constants.items() if t in needed}
    graph.shapes = {t: v for t, v in graph.shapes.items() if t in needed or t in graph.inputs}


def write_graph(graph: Graph, watch: bool = False) -> bytes:
    """A TFLite file of the float graph; with `watch`, every tensor is an output (roles are tensor names)."""
    tidy(graph)
    kinds = sorted({node.kind for node in graph.nodes})
    buffers = [schema.BufferT()]
    names = list(dict.fromkeys([*graph.inputs, *(t for node in graph.nodes for t in (*node.inputs, node.output))]))
    numbers = {name: number for number, name in enumerate(names)}
    outputs = {node.output: node.output for node in graph.nodes} if watch else graph.outputs
    subgraph = schema.SubGraphT(
        name=b"main",
        tensors=[_tensor(graph, name, buffers) for name in names],
        operators=[_operator(node, kinds.index(node.kind), numbers) for node in graph.nodes],
        inputs=[numbers[t] for t in graph.inputs],
        outputs=[numbers[t] for t in outputs.values()],
    )
    inputs = {f"input_{k}" if k else "input": t for k, t in enumerate(graph.inputs)}
    signature = schema.SignatureDefT(
        inputs=[schema.TensorMapT(role.encode(), numbers[t]) for role, t in inputs.items()],
        outputs=[schema.TensorMapT(role.encode(), numbers[t]) for role, t in outputs.items()],
        signatureKey=b"serving_default",
        subgraphIndex=0,
    )
    codes = [getattr(schema.BuiltinOperator, kind) for kind in kinds]
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(min(code, 127), version=1, builtinCode=code) for code in codes],
        subgraphs=[subgraph],
        description=b"threshold",
        buffers=buffers,
        signatureDefs=[signature],
    )
    return pack(model)


def pack(model: Any) -> bytes:
    """The bytes of a TFLite file."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(graph: Graph, name: str, buffers: list[Any]) -> Any:
    if name not in graph.constants:
        return schema.TensorT(list(graph.shapes[name]), schema.TensorType.FLOAT32, 0, name.encode())
    values = np.ascontiguousarray(graph.constants[name])
    buffers.append(schema.BufferT(np.frombuffer(values.tobytes(), np.uint8)))
    return schema.TensorT(list(values.shape), _TENSOR_TYPES[values.dtype.type], len(buffers) - 1, name.encode())


def _operator(node: Node, code: int, numbers: dict[str, int]) -> Any:
    kind = "NONE" if node.options is None else type(node.options).__name__.removesuffix("T")
    return schema.OperatorT(
        opcodeIndex=code,
        inputs=[numbers[t] for t in node.inputs],
        outputs=[numbers[node.output]],
        builtinOptionsType=getattr(schema.BuiltinOptions, kind),
        builtinOptions=node.options,
    )
