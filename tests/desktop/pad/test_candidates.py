"""The networks that judge one frame: TensorFlow.js graphs become TFLite, a tree its routes and leaves, floats int8."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from quantize_candidates import compare
from threshold_tools.pad.networks import FOLDER, NETWORKS, at_the_leaf, drawn, fold_mean
from threshold_tools.quantize import calibrate, rewrite
from threshold_tools.quantize.calibration_data import read_measured
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.graph import Graph, Node, read_graph, write_graph
from threshold_tools.quantize.recipe import canonical, make
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner
from threshold_tools.quantize.tfjs import read_tfjs

from edge.core.errors import ModelError
from edge.core.records import BgrImage, FloatArray

SIDE = 12
IMAGE_RANGE = (0.0, 1.0)


# An independent, slow form of the operations, to compare with.


def convolved(x: FloatArray, kernel: FloatArray, bias: FloatArray, pad: int) -> FloatArray:
    """(H, W, C) with a (3, 3, C, D) kernel, `pad` zeros around it."""
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return np.asarray(np.einsum("hwcij,ijcd->hwd", windows, kernel, optimize=True) + bias, np.float32)


def pooled(x: FloatArray) -> FloatArray:
    """Largest of 2 x 2, what is over left out."""
    height, width = x.shape[0] // 2, x.shape[1] // 2
    return np.asarray(x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max(axis=(1, 3)), np.float32)


def relu(x: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(x, 0), np.float32)


def rgb(face: BgrImage, side_px: int) -> FloatArray:
    """(side, side, 3), 0..1."""
    return np.asarray(drawn(face, side_px)[..., ::-1], np.float32) / np.float32(255)


# A small TensorFlow.js model with all that the two real ones have.


def small_weights() -> dict[str, FloatArray]:
    random = np.random.default_rng(0)
    shapes = {
        "k1": (3, 3, 3, 4),
        "b1": (4,),
        "scale": (4,),
        "offset": (4,),
        "k2": (3, 3, 4, 5),
        "b2": (5,),
        "k3": (20, 6),
        "b3": (6,),
        "k4": (6, 2),
        "b4": (2,),
    }
    # Exact in float16, which is how the file holds half of them.
    return {name: random.normal(0, 0.5, shape).astype(np.float16).astype(np.float32) for name, shape in shapes.items()}


def small_result(weights: dict[str, FloatArray], image: FloatArray) -> FloatArray:
    """The logits of the small model."""
    x = relu(convolved(image, weights["k1"], weights["b1"], 1)) * weights["scale"] + weights["offset"]
    x = relu(pooled(convolved(pooled(x), weights["k2"], weights["b2"], 0)))
    x = relu(x.ravel() @ weights["k3"] + weights["b3"])
    return np.asarray(x @ weights["k4"] + weights["b4"], np.float32)


def small_model(weights: dict[str, FloatArray]) -> tuple[bytes, bytes]:
    """Its topology and its file of weights."""

    def text(word: str) -> str:
        return base64.b64encode(word.encode()).decode()

    def window(rows: int) -> dict[str, object]:
        return {"list": {"i": ["1", str(rows), str(rows), "1"]}}

    def conv(name: str, source: str, number: int, padding: str, *fused: str) -> dict[str, object]:
        attr = {"padding": {"s": text(padding)}, "strides": window(1), "dilations": window(1)}
        attr |= {"fused_ops": {"list": {"s": [text(word) for word in ("BiasAdd", *fused)]}}}
        return {"name": name, "op": "_FusedConv2D", "input": [source, f"k{number}", f"b{number}"], "attr": attr}

    def dense(name: str, source: str, number: int, *fused: str) -> dict[str, object]:
        attr = {"fused_ops": {"list": {"s": [text(word) for word in ("BiasAdd", *fused)]}}}
        return {"name": name, "op": "_FusedMatMul", "input": [source, f"k{number}", f"b{number}"], "attr": attr}

    def pool(name: str, source: str) -> dict[str, object]:
        attr = {"padding": {"s": text("VALID")}, "strides": window(2), "ksize": window(2)}
        return {"name": name, "op": "MaxPool", "input": [source], "attr": attr}

    nodes = [
        *({"name": name, "op": "Const"} for name in weights),
        {"name": "rgb", "op": "Placeholder"},
        conv("one", "rgb", 1, "SAME", "Relu"),
        {"name": "scaled", "op": "Mul", "input": ["one", "scale"]},
        {"name": "normal", "op": "AddV2", "input": ["scaled", "offset"]},
        pool("less", "normal"),
        conv("two", "less", 2, "VALID"),
        pool("least", "two"),
        {"name": "positive", "op": "Relu", "input": ["least"]},
        {"name": "flat", "op": "Reshape", "input": ["positive", "shape"]},
        dense("three", "flat", 3, "Relu"),
        dense("four", "three", 4),
        {"name": "share", "op": "Softmax", "input": ["four"]},
        {"name": "Identity", "op": "Identity", "input": ["share"]},
    ]
    halves = {"k1", "k3"}
    entries = [
        {"name": name, "shape": list(values.shape), "dtype": "float32"}
        | ({"quantization": {"dtype": "float16", "original_dtype": "float32"}} if name in halves else {})
        for name, values in weights.items()
    ]
    sides = [{"size": str(size)} for size in (-1, SIDE, SIDE, 3)]
    topology = {
        "signature": {"inputs": {"rgb": {"tensorShape": {"dim": sides}}}},
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"weights": entries}],
    }
    kinds = {name: np.float16 if name in halves else np.float32 for name in weights}
    content = b"".join(values.astype(kinds[name]).tobytes() for name, values in weights.items())
    return json.dumps(topology).encode(), content


def picture(seed: int) -> BgrImage:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def small_graph() -> Graph:
    """The small model after a TFLite file was written of it and read again, taking BGR pixels."""
    graph = read_graph(write_graph(read_tfjs(*small_model(small_weights()))))
    rewrite.fold_input(graph, mean=0.0, std=255.0)
    return graph


def test_a_tensorflow_js_model_gives_the_same_as_tflite() -> None:
    run = FloatRunner(small_graph(), IMAGE_RANGE)
    for seed in range(5):
        logits = small_result(small_weights(), rgb(picture(seed), SIDE))
        (found,) = run(picture(seed)).values()
        np.testing.assert_allclose(found.ravel(), np.exp(logits) / np.exp(logits).sum(), atol=1e-5)


@pytest.mark.parametrize(
    ("step", "gone"),
    [
        (rewrite.relu_before_pooling, set()),
        (rewrite.normal_as_convolution, {"MUL", "ADD"}),
        (rewrite.dense_as_convolutions, {"FULLY_CONNECTED", "RESHAPE"}),
    ],
)
def test_a_rewrite_towards_int8_keeps_the_function(step: Callable[[Graph], None], gone: set[str]) -> None:
    graph = small_graph()
    (expected,) = FloatRunner(graph, IMAGE_RANGE)(picture(1)).values()
    step(graph)
    (found,) = FloatRunner(graph, IMAGE_RANGE)(picture(1)).values()
    np.testing.assert_allclose(found.ravel(), expected.ravel(), atol=1e-5)
    assert not gone & {node.kind for node in graph.nodes}


def test_relu_before_the_largest_of_a_window_can_be_fused() -> None:
    graph = small_graph()
    rewrite.relu_before_pooling(graph)
    rewrite.fuse_relu(graph)
    assert "RELU" not in {node.kind for node in graph.nodes}


def test_a_network_of_tensorflow_js_becomes_int8_of_the_same_bytes_near_its_float_form() -> None:
    recipe = NETWORKS["human-liveness"].recipe
    original = write_graph(read_tfjs(*small_model(small_weights())))
    images = [picture(seed) for seed in range(16)]
    measured = calibrate.measure(recipe, original, images, "noise", lambda items, _: items)
    content = make(recipe, original, measured)
    assert content == make(recipe, original, measured)
    run = IntegerRunner(content)
    assert run.delegated() == (1, 0)
    expected = [small_result(small_weights(), rgb(image, SIDE)) for image in images]
    found = [run(image)["logits"].ravel() for image in images]
    assert np.abs(np.subtract(found, expected)).max() < 0.1 * np.ptp(expected)
    report = compare(
        NETWORKS["human-liveness"], FloatRunner(canonical(recipe, original), recipe.image_range), run, images
    )
    assert report["correlation of the scores"] > 0.95
    assert 0 < report["difference, median"] <= report["difference, largest"] < report["spread of the float scores"]
    assert measured.equalization == {}
    assert calibrate.measure(replace(recipe, equalized=True), original, images, "", lambda items, _: items).equalization


def test_the_ends_of_a_network_can_stay_in_float() -> None:
    """Of five convolutions, normalization and logits are float32 already; then the first and the last two, too."""

    def in_float(ends: tuple[int, int]) -> list[bool]:
        content = make(replace(recipe, float_ends=ends), original, measured)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        tensors = model.subgraphs[0].tensors
        readers = [operator for operator in model.subgraphs[0].operators if len(operator.inputs) == 3]
        return [bool(tensors[each.inputs[1]].type == schema.TensorType.FLOAT32) for each in readers]

    recipe = NETWORKS["human-liveness"].recipe
    original = write_graph(read_tfjs(*small_model(small_weights())))
    measured = calibrate.measure(recipe, original, [picture(0)], "noise", lambda items, _: items)
    assert in_float((0, 0)) == [False, True, False, False, True]
    assert in_float((1, 2)) == [True, True, False, True, True]


def test_a_broken_tensorflow_js_model_is_refused_by_name() -> None:
    topology, weights = small_model(small_weights())
    with pytest.raises(ModelError, match="not a TensorFlow"):
        read_tfjs(b"<html>404 not found</html>", weights)
    with pytest.raises(ModelError, match="b4: the file of weights ends before it"):
        read_tfjs(topology, weights[:-4])
    with pytest.raises(ModelError, match=f"{len(weights) + 4} bytes, its list says {len(weights)}"):
        read_tfjs(topology, weights + b"more")
    with pytest.raises(ModelError, match="positive: Relu6 is not known here"):
        read_tfjs(topology.replace(b'"Relu"', b'"Relu6"'), weights)


@pytest.mark.parametrize("signs", [*product((1.0, -1.0), repeat=3)])
def test_a_tree_gives_the_leaf_that_its_routes_lead_to(signs: tuple[float, ...]) -> None:
    """Negative goes right, at each of the three levels; the routes that are not taken count for nothing."""
    at, outputs = 0, {f"route_{k}": np.array([[np.nan]], np.float32) for k in range(7)}
    for sign in signs:
        outputs[f"route_{at}"] = np.array([[sign]], np.float32)
        at = 2 * at + (1 if sign > 0 else 2)
    outputs |= {f"leaf_{k}": np.array([[-float(k)]], np.float32) for k in range(8)}
    leaf = sum((sign < 0) * weight for sign, weight in zip(signs, (4, 2, 1), strict=True))
    assert at_the_leaf(outputs) == leaf


def test_a_mean_that_is_subtracted_goes_into_the_bias() -> None:
    random = np.random.default_rng(2)
    graph = Graph([], {}, {"image": (1, 1, 1, 3), "less": (1, 1, 1, 3), "result": (1, 1)}, ["image"])
    graph.constants = {
        "mean": random.normal(0, 1, (1, 1, 1, 3)).astype(np.float32),
        "weights": random.normal(0, 1, (1, 3)).astype(np.float32),
        "bias": np.ones(1, np.float32),
    }
    graph.nodes = [
        Node("SUB", ["image", "mean"], "less", schema.SubOptionsT()),
        Node("FULLY_CONNECTED", ["less", "weights", "bias"], "result", schema.FullyConnectedOptionsT()),
    ]
    graph.outputs = {"result": "result"}
    pixel = picture(0)[:1, :1]
    expected = FloatRunner(graph, IMAGE_RANGE)(pixel)["result"]
    fold_mean(graph)
    assert [node.kind for node in graph.nodes] == ["FULLY_CONNECTED"]
    np.testing.assert_allclose(FloatRunner(graph, IMAGE_RANGE)(pixel)["result"], expected, atol=1e-5)


# The real ones, by what their packages hold.


def published_tree(face: BgrImage) -> float:
    """FaceAntiSpoofing.tflite as it is shipped, leaves by their mask."""
    content = fetch_original(NETWORKS["face-anti-spoofing"].recipe.source, cache_folder())
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], rgb(face, 256)[None])
    interpreter.invoke()
    leaves, mask = (interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details())
    return float((np.abs(leaves) * mask).sum())


@cache
def published_weights(name: str) -> dict[str, FloatArray]:
    """Of a network of Human, as its file of weights holds them."""
    network = NETWORKS[name]
    assert network.weights is not None
    entries = json.loads(fetch_original(network.recipe.source, cache_folder()))["weightsManifest"][0]["weights"]
    content, place, found = fetch_original(network.weights, cache_folder()), 0, {}
    for entry in entries:
        kind = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, kind, count, place).reshape(entry["shape"])
        found[entry["name"].removeprefix("StatefulPartitionedCall/sequential_1/")] = values.astype(np.float32)
        place += count * kind.itemsize
    return found


def published_antispoof(face: BgrImage) -> float:
    weights, x = published_weights("human-antispoof"), rgb(face, 128)
    for at, bias in (("", 0), ("_1", 2), ("_3", 4)):
        x = relu(pooled(convolved(x, weights[f"unknown{at}"], weights[f"unknown_{bias}"], 0)))
    x = relu(x.ravel() @ weights["unknown_5"] + weights["unknown_6"])
    return -float((x @ weights["unknown_7"] + weights["unknown_8"]).item())


def published_liveness(face: BgrImage) -> float:
    weights, x = published_weights("human-liveness"), rgb(face, 32)
    for number in (1, 2, 3, 4):
        kernel, bias = (weights[f"conv2d_{number}/{part}/ReadVariableOp"] for part in ("Conv2D", "BiasAdd"))
        scale, offset = (weights[f"batch_normalization_{number}/FusedBatchNormV3/{p}"] for p in ("Scaled", "Offset"))
        x = relu(convolved(x, kernel, bias, 1)) * scale + offset
        x = pooled(x) if number % 2 == 0 else x
    x = relu(x.ravel() @ weights["dense_1/MatMul/ReadVariableOp"] + weights["dense_1/BiasAdd/ReadVariableOp"])
    x = x * weights["batch_normalization_5/batchnorm/mul"] + weights["batch_normalization_5/batchnorm/sub"]
    x = x @ weights["dense_2/MatMul/ReadVariableOp"] + weights["dense_2/BiasAdd/ReadVariableOp"]
    live, fake = x.tolist()
    return float(fake - live)


PUBLISHED = {
    "face-anti-spoofing": published_tree,
    "human-antispoof": published_antispoof,
    "human-liveness": published_liveness,
}


@pytest.mark.network
@pytest.mark.parametrize("name", NETWORKS)
def test_the_float_form_gives_what_the_published_network_gives(name: str, photo: Callable[[str], BgrImage]) -> None:
    network = NETWORKS[name]
    run = network.floating()
    for stem in ("obama2", "obama3", "biden", "astronaut"):
        assert network.score(run, photo(stem)) == pytest.approx(PUBLISHED[name](photo(stem)), abs=1e-4)


@pytest.mark.network
@pytest.mark.parametrize("name", NETWORKS)
def test_the_int8_form_is_made_of_the_pinned_file_and_the_committed_ranges(name: str) -> None:
    network = NETWORKS[name]
    content = make(network.recipe, network.original(), read_measured(FOLDER, name))
    assert content == make(network.recipe, network.original(), read_measured(FOLDER, name))
    run = IntegerRunner(content)
    assert run.input["dtype"] is np.int8
    assert run.delegated()[1] == 0
