"""Manifest of the model files, `models/manifest.json`: written by `threshold quantize`, read by the door.

It has everything the code needs to know about a model, so that a model can be replaced without changing code: file and
sha256, origin, inputs and outputs, and the loss by quantization.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from edge.core.errors import DECODE_ERRORS, ModelError


class ModelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Origin of the float model."""

    registry: str  # "pypi" or "npm"
    package: str
    version: str
    archive_sha256: str  # of the package file in the registry
    file: str  # path inside the package
    file_sha256: str
    licence_package: str
    licence_model: str


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output: real value = scale * (stored value - zero_point); scale 0 means stored as float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # "int8" or "float32"
    scale: float
    zero_point: int


class AnchorLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SSD grid: `cells` x `cells`, `per_cell` anchors at each cell centre."""

    cells: int
    per_cell: int


class OperatingPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the impostor table: the distance below which a share `fmr` of stranger-to-centroid pairs falls."""

    fmr: float
    distance_sq: float


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model file and its contract."""

    file: str  # name within the models folder
    sha256: str  # of that file
    job: str  # detector, landmarks or embedder
    source: ModelSource  # the float original
    # One int8 tensor (1, H, W, 3) in BGR order whose stored value is the pixel's uint8 value minus 128, that is the
    # same byte with its top bit flipped. Scaling and channel order are folded into the model.
    input: Tensor
    # By role. Detector: `boxes_<k>` (1, N, 16) and `scores_<k>` (1, N, 1) for each anchor layer k, boxes in pixels of
    # the input relative to the anchor centre, scores as logits. Landmarks: `points` (1404 values, x y z in pixels of
    # the input) and `presence` (one logit). Embedder: `embedding` (D values, not normalised).
    outputs: dict[str, Tensor]
    report: dict[str, float | str]  # loss by quantization, measured by threshold quantize; free form, for people
    anchors: tuple[AnchorLayer, ...] = ()  # detector only, one entry per pair of outputs
    # Embedder only: points to which alignment maps a face (right eye, left eye, nose tip, right and left mouth corner;
    # right and left are the person's own), pixels of the input, pixel centres at integers
    template_px: tuple[tuple[float, float], ...] = ()
    impostors: tuple[OperatingPoint, ...] = ()  # embedder only: conservative table for thresholds, falling fmr
    # Embedder only: median length of its raw vector over ordinary photos; 0: not known
    typical_length: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    compiled_from: str = ""  # sha256 of the model that this one was compiled from for an accelerator, or ""

    @property
    def embedding_space_sha256(self) -> str:
        """Hash to which vectors and galleries are bound; a compiled embedder has that of its source model."""
        return self.compiled_from or self.sha256

    @property
    def size_px(self) -> int:
        """Side of the square input, pixels."""
        return self.input.shape[1]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All models by name: `detector-far`, `detector-near`, `landmarks`, `embedder`."""

    version: int
    models: dict[str, Model]


def default_folder() -> Path:
    """Folder of the installed models: inside the package in a wheel, next to it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def read_manifest(folder: Path) -> Manifest:
    """Read `folder`/manifest.json.

    Raises:
        ModelError: the file is missing or malformed.
    """
    path = folder / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); reinstall the models") from error
    except DECODE_ERRORS as error:
        raise ModelError(f"{path}: malformed manifest ({error}); reinstall the models") from error
    if manifest.version != 1:
        raise ModelError(
            f"{path}: manifest version {manifest.version}; this program reads version 1; reinstall the models"
        )
    return manifest


def read_model(folder: Path, name: str) -> tuple[Model, bytes]:
    """Read the contract and the verified bytes of one model.

    Raises:
        ModelError: unknown name, missing file, or a file with another sha256 than in the manifest.
    """
    models = read_manifest(folder).models
    if name not in models:
        raise ModelError(f"{folder}: no model '{name}'; the manifest has {', '.join(sorted(models))}")
    model = models[name]
    path = folder / model.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); reinstall the models") from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelError(f"{path}: damaged: its sha256 differs from the manifest; reinstall the models")
    return model, content
