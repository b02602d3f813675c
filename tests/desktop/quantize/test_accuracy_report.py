"""The reports of the model maker: what int8 costs in recognition, and which layer the error comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quantize
from desktop.quantize.test_quantize import IMAGE_RANGE, fold_and_maximise, picture, ranges_of, small_network
from threshold_tools.quantize import accuracy_report, layer_noise, rewrite
from threshold_tools.quantize.graph import Graph
from threshold_tools.quantize.int8 import Ranges
from threshold_tools.quantize.int8 import quantize as to_int8
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner

from edge.core.errors import InputError
from edge.core.records import FloatArray

NAMES = [f"person{person:02d}/{photo}.jpg" for person in range(40) for photo in range(3)]


def faces_of(noise: float, spread: float = 0.8) -> list[FloatArray]:
    """A vector for each of NAMES: one direction for each person, photos spread about it, and noise."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(size=(40, 32)), 3, axis=0)
    own = spread * random.normal(size=(120, 32))
    more = noise * np.random.default_rng(1).normal(size=(120, 32))
    vectors = centres + own + more
    return list((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


def rows_of(report: accuracy_report.AccuracyReport) -> dict[str, accuracy_report.ChainAccuracy]:
    return {row.chain: row for row in report.rows}


def test_the_float_chain_is_no_worse_than_itself_and_noise_costs() -> None:
    """Judged on the same pairs, equal vectors lose exactly nothing; vectors with noise lose more than its error."""
    report = accuracy_report.report(
        {accuracy_report.FLOAT: faces_of(0), "same": faces_of(0), "noisy": faces_of(1.5)}, NAMES, "test", 8
    )
    rows = rows_of(report)
    assert (rows["same"].below_float, rows["same"].standard_error, rows["same"].cosine_median) == (0, 0, 1)
    assert rows["noisy"].below_float > 5 * rows["noisy"].standard_error > 0
    assert rows["noisy"].eer_percent > rows["same"].eer_percent
    assert report.people == 40


def test_a_face_that_int8_does_not_find_is_an_error() -> None:
    """A photo without a face counts against the chain that lost it, even where all other pairs are judged rightly."""
    lost = faces_of(0, spread=0.1)
    lost[4] = np.zeros(32, np.float32)
    row = rows_of(
        accuracy_report.report({accuracy_report.FLOAT: faces_of(0, spread=0.1), "lost": lost}, NAMES, "test", 8)
    )["lost"]
    assert row.no_face == 1
    assert row.below_float > 0
    assert row.below_float == pytest.approx(100 - row.ten_fold_percent)
    assert row.cosine_median == 1


def test_too_few_people_for_folds_are_refused() -> None:
    """Ten folds of different people need twenty of them."""
    with pytest.raises(InputError, match="too few people"):
        accuracy_report.report({accuracy_report.FLOAT: faces_of(0)[:9]}, NAMES[:9], "nine photos", 2)


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
    integer = IntegerRunner(to_int8(graph, ranges, float_heads=False, floating=floating))
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


@pytest.mark.network
def test_reports_are_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--layers` writes a table and JSON beside the models; `--chain` says that nine people are too few."""
    out = tmp_path / "out"
    (out / "ranges").mkdir(parents=True)
    for path in (quantize.ROOT / "models").rglob("*.*"):
        (out / path.relative_to(quantize.ROOT / "models")).write_bytes(path.read_bytes())
    portraits = str(quantize.PORTRAITS)
    assert quantize.main(["--layers", portraits, "--only", "embedder", "--out", str(out)]) == 0
    assert "of the output's variance" in capsys.readouterr().out
    assert (out / "layers-embedder.json").is_file()
    with pytest.raises(InputError, match="too few people"):
        quantize.main(["--chain", portraits, "--out", str(out)])
