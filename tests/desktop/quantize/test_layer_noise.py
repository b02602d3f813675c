"""Which layer an int8 model's error comes from."""

from __future__ import annotations

import numpy as np
import pytest
from support.small_network import IMAGE_RANGE, fold_and_maximise, picture, ranges_of, small_network
from threshold_tools.quantize import layer_noise, rewrite
from threshold_tools.quantize.graph import Graph
from threshold_tools.quantize.int8 import Ranges, quantize
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner


@pytest.fixture(scope="module")
def network() -> tuple[Graph, Ranges]:
    """A small network as it is quantized, and its ranges."""
    graph = small_network(seed=4, steepest=3)
    rewrite.fuse_relu(graph)
    fold_and_maximise(graph)
    return graph, ranges_of(graph)


@pytest.mark.parametrize("floating", [(), ("PRELU", "ADD")])
def test_imitated_rounding_is_that_of_the_int8_file(network: tuple[Graph, Ranges], floating: tuple[str, ...]) -> None:
    """The float graph with every layer rounded is five times nearer to the int8 file than the exact one is."""
    graph, ranges = network
    if floating:
        graph = small_network(seed=4, steepest=3)
        rewrite.fuse_relu(graph)
        ranges = ranges_of(graph)
    floats = layer_noise.in_float(graph, False, floating)
    integer = IntegerRunner(quantize(graph, ranges, float_heads=False, floating=floating))
    rounded_all = {node.output for node in layer_noise.quantized_nodes(graph, floats)}
    imitation = FloatRunner(layer_noise.simulate_quantization(graph, ranges, rounded_all, floats), IMAGE_RANGE)
    exact = FloatRunner(graph, IMAGE_RANGE)
    found, rounded, wanted = (run(picture(3))["result"] for run in (integer, imitation, exact))
    step = (ranges["result"][1] - ranges["result"][0]) / 255
    assert np.abs(found - rounded).max() < 3.5 * step
    assert np.abs(found - rounded).mean() < 0.2 * np.abs(found - wanted).mean()


def test_the_layer_with_the_coarsest_steps_is_found(network: tuple[Graph, Ranges]) -> None:
    """A range ten times too wide stands out by the loss that its layer makes alone; nothing is clipped."""
    graph, ranges = network
    spoilt = ranges | {"f": (10 * ranges["f"][0], 10 * ranges["f"][1])}
    report = layer_noise.measure("small", graph, spoilt, IMAGE_RANGE, [picture(seed) for seed in range(8)], 4)
    worst = max(report.layers, key=lambda layer: layer.own_loss)
    assert worst.tensor == "f"
    assert worst.clipped_percent == 0
    assert report.loss > worst.own_loss / 2
    assert {layer.kind for layer in report.layers} == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD"}


def test_values_beyond_the_range_are_counted(network: tuple[Graph, Ranges]) -> None:
    """A range a tenth as wide clips, and lowers the signal-to-noise ratio."""
    graph, ranges = network
    narrow = ranges | {"f": (0.1 * ranges["f"][0], 0.1 * ranges["f"][1])}
    images = [picture(seed) for seed in range(4)]
    good, bad = (layer_noise.measure("small", graph, r, IMAGE_RANGE, images, 1).layers for r in (ranges, narrow))
    k = next(number for number, layer in enumerate(good) if layer.tensor == "f")
    assert bad[k].clipped_percent > 20 > good[k].clipped_percent
    assert bad[k].snr_db < good[k].snr_db - 10


def test_float_heads_are_not_rounded(network: tuple[Graph, Ranges]) -> None:
    """A head that stays in float32 is no layer of the report."""
    graph, _ = network
    floats = [layer_noise.in_float(graph, kept, ()) for kept in (False, True)]
    tensors = [[node.output for node in layer_noise.quantized_nodes(graph, each)] for each in floats]
    assert tensors[0] == [*tensors[1], "result"]
