"""Where an int8 model's error comes from: each rounded tensor's noise, and what it alone costs at the output.

Rounding is imitated in the float graph (weights rounded to int8 per channel, a FAKE_QUANT after the tensor), which
gives what int8 kernels give to within single steps and lets one layer be rounded while all others stay exact. What an
operation in float32 gives is rounded only on its way into int8 ones.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from rich.table import Table

from edge.core.records import BgrImage, FloatArray
from threshold_tools.quantize.graph import Array, Graph, Node
from threshold_tools.quantize.int8 import Ranges, head_tensors, with_derived_ranges
from threshold_tools.quantize.rewrite import CONVOLUTIONS
from threshold_tools.quantize.runner import FloatRunner

SEEN = "_seen"  # ends the name of a tensor before it is rounded


class LayerNoise(msgspec.Struct, frozen=True):
    """One operation whose result is rounded to int8.

    Attributes:
        tensor: its result, by the name in the file.
        kind: TFLite's name of the operation.
        shape: of the result.
        low, high: real values that int8 spans.
        clipped_percent: values beyond them, with every layer int8.
        snr_db: power of the float values over that of the difference from them, with every layer int8.
        own_loss: as the report's, with this layer's weights and result alone rounded.
    """

    tensor: str
    kind: str
    shape: tuple[int, ...]
    low: float
    high: float
    clipped_percent: float
    snr_db: float
    own_loss: float


class LayerNoiseReport(msgspec.Struct, frozen=True):
    """All layers of a model in execution order.

    Attributes:
        model: its name.
        pictures: how many.
        loss: variance of the error of its first output, relative to that of the exact output between pictures, with
            every layer int8; of an embedding about twice 1 - cosine. A constant error is none: recipes correct it.
        layers: in execution order.
    """

    model: str
    pictures: int
    loss: float
    layers: tuple[LayerNoise, ...]


def simulate_quantization(
    graph: Graph, ranges: Ranges, tensors: Collection[str], floats: Collection[str] = ()
) -> Graph:
    """The float graph with the results of the nodes that make `tensors`, and their weights, rounded as int8 rounds.

    Args:
        graph: as it is quantized.
        ranges: of its tensors.
        tensors: to round.
        floats: the results of operations that stay in float32.
    """
    rounded = graph.copy()
    spans = with_derived_ranges(graph, ranges)
    nodes: list[Node] = []
    for node in rounded.nodes:
        nodes.append(node)
        if node.output not in tensors:
            continue
        exact = node.output + SEEN
        if node.output in floats:
            for reader in (each for each in rounded.consumers(node.output) if each.output in floats):
                reader.inputs = [exact if tensor == node.output else tensor for tensor in reader.inputs]
        elif node.kind in CONVOLUTIONS:
            weights = node.inputs[1]
            rounded.constants[weights] = round_weights(rounded.constants[weights], 0 if node.kind == "CONV_2D" else 3)
        rounded.shapes[exact] = rounded.shapes[node.output]
        nodes.append(Node("FAKE_QUANT", [exact], node.output, _fake_quant(*spans[node.output])))
        node.output = exact
    rounded.nodes = nodes
    return rounded


def round_weights(weights: Array, axis: int) -> Array:
    """Weights as int8 with one symmetric scale for each channel along `axis` holds them."""
    others = tuple(k for k in range(weights.ndim) if k != axis)
    step = np.maximum(np.abs(weights).max(axis=others, keepdims=True), 1e-12) / 127
    return np.asarray(np.round(weights / step) * step, np.float32)


def in_float(graph: Graph, float_heads: bool, floating: Collection[str]) -> set[str]:
    """The results of the operations that stay in float32."""
    heads = head_tensors(graph) if float_heads else []
    return {*heads, *(node.output for node in graph.nodes if node.kind in floating)}


def quantized_nodes(graph: Graph, floats: Collection[str]) -> list[Node]:
    """The nodes whose results are rounded, by int8 kernels (MAXIMUM and RESHAPE pass on) or on the way into them."""
    return [
        node
        for node in graph.nodes
        if (node.kind in (*CONVOLUTIONS, "ADD") and node.output not in floats)
        or (node.output in floats and any(reader.output not in floats for reader in graph.consumers(node.output)))
    ]


def measure(
    model: str,
    graph: Graph,
    ranges: Ranges,
    image_range: tuple[float, float],
    images: list[BgrImage],
    each: int,
    floats: Collection[str] = (),
) -> LayerNoiseReport:
    """Round all layers, then one after the other.

    Args:
        model: its name.
        graph: as it is quantized.
        ranges: of its tensors.
        image_range: see `FloatRunner`.
        images: what the model sees, uint8 BGR.
        each: number of them that each layer alone is measured on.
        floats: see `in_float`.
    """
    nodes = quantized_nodes(graph, floats)
    rounded = simulate_quantization(graph, ranges, {node.output for node in nodes}, floats)
    exact, everything = (FloatRunner(some, image_range, watch=True) for some in (graph, rounded))
    final, spans = next(iter(graph.outputs.values())), with_derived_ranges(graph, ranges)
    totals = {node.output: np.zeros(3) for node in nodes}  # power of signal and of noise, share beyond the range
    errors: list[FloatArray] = []
    expected: list[FloatArray] = []
    for image in images:
        one, other = exact(image), everything(image)
        errors.append(other[final] - one[final])
        expected.append(one[final])
        for name in totals:
            low, high = spans[name]
            seen = other[name + SEEN]
            noise = np.square(other[name] - one[name], dtype=np.float64).sum()
            signal = np.square(one[name], dtype=np.float64).sum()
            totals[name] += (signal, noise, np.mean((seen < low) | (seen > high)))
    unit = max(_variance(expected), 1e-12)
    few = list(zip(expected, images, strict=True))[:: max(len(images) // each, 1)][:each]
    layers = []
    for node in nodes:
        alone = FloatRunner(simulate_quantization(graph, ranges, {node.output}, floats), image_range)
        own = _variance([next(iter(alone(image).values())) - vector for vector, image in few])
        signal, noise, beyond = totals[node.output]
        layers.append(
            LayerNoise(
                node.output,
                node.kind,
                tuple(graph.shapes[node.output]),
                *spans[node.output],
                clipped_percent=round(float(100 * beyond / len(images)), 3),
                snr_db=round(float(10 * np.log10(signal / max(noise, 1e-12))), 1),
                own_loss=float(f"{own / unit:.3g}"),
            )
        )
    return LayerNoiseReport(model, len(images), round(_variance(errors) / unit, 6), tuple(layers))


def table(report: LayerNoiseReport) -> Table:
    """The report for people."""
    total = sum(layer.own_loss for layer in report.layers) or 1.0
    title = (
        f"{report.model}: error {100 * report.loss:.3f} % of the output's variance in int8; "
        f"{100 * total:.3f} % summed over the layers alone"
    )
    result = Table("tensor", "shape", "int8 spans", "beyond %", "SNR dB", "alone %", "share %", title=title)
    for layer in report.layers:
        result.add_row(
            layer.tensor,
            "x".join(str(n) for n in layer.shape[1:]),
            f"{layer.low:.4g} … {layer.high:.4g}",
            f"{layer.clipped_percent:.3f}",
            f"{layer.snr_db:.1f}",
            f"{100 * layer.own_loss:.4f}",
            f"{100 * layer.own_loss / total:.1f}",
        )
    return result


def _variance(rows: list[FloatArray]) -> float:
    """Summed over the values; unbiased for few rows."""
    return float(np.var(np.stack(rows), axis=0, dtype=np.float64, ddof=min(len(rows) - 1, 1)).sum())


def _fake_quant(low: float, high: float) -> schema.FakeQuantOptionsT:
    """Options that round to 256 steps between low and high, zero being one of the values, as int8 has it."""
    low, high = min(low, 0.0), max(high, 0.0)
    options = schema.FakeQuantOptionsT()
    options.min, options.max, options.numBits, options.narrowRange = low, high, 8, False
    return options
