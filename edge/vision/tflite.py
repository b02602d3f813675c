"""Runs models on the TFLite runtime: ai-edge-litert, or its predecessor tflite-runtime.

A model takes pixels as the camera delivers them (uint8, BGR). Its int8 input tensor has the same bytes with the top bit
flipped, so one pass over the picture without arithmetic prepares it.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.config import ModelsConfig
from edge.core.errors import ModelError
from edge.core.files import captured_stderr
from edge.core.records import BgrImage, FloatArray
from edge.vision import manifest

_RUNTIMES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
_EDGETPU_LIBRARY = "libedgetpu.so.1"
EDGETPU_OP = b"edgetpu-custom-op"  # operation by which edgetpu_compiler replaces the mapped ones
_TOP_BIT = np.uint8(0x80)


class ModelContract(Protocol):
    """The part of a model's manifest entry that the stages read; `manifest.Model` has it."""

    @property
    def size_px(self) -> int:
        """Side of the square input, pixels."""

    @property
    def anchors(self) -> Sequence[manifest.AnchorLayer]:
        """Detector only, one entry per pair of outputs."""


class LoadedModel(Protocol):
    """The part of `TfliteModel` that the stages use, so that measurements can use models of their own."""

    @property
    def contract(self) -> ModelContract:
        """Input and anchor grids of the model."""

    @property
    def pixels(self) -> BgrImage:
        """Input picture, (H, W, 3) uint8 BGR; the caller writes into it between calls."""

    def __call__(self) -> None:
        """Run the model on `pixels`."""

    def read(self, role: str, rows: NDArray[np.intp] | slice = ...) -> FloatArray:
        """Copy one output as float32 real values, without the batch axis; only `rows` of the second axis."""

    def quantized_floor(self, role: str, real: float) -> NDArray[np.intp]:
        """Indices on the second axis where a (1, N, 1) output is at least `real`."""


class _Interpreter(Protocol):
    def allocate_tensors(self) -> None: ...
    def invoke(self) -> None: ...
    def tensor(self, index: int) -> Any: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class _Output:
    """An output tensor in the memory of the interpreter."""

    stored: NDArray[Any]  # float32, or the bytes of int8
    reals: FloatArray | None  # (256,) float32: real value of each byte; None for float32

    @classmethod
    def of(cls, tensor: manifest.Tensor, stored: NDArray[Any]) -> _Output:
        if not tensor.scale:
            return cls(stored, None)
        values = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
        reals: FloatArray = (values - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
        return cls(stored.view(np.uint8), reals)


class TfliteModel:
    """One loaded model: write `pixels`, call it, read its outputs by role.

    Attributes:
        contract: entry of the model in the manifest.
        pixels: input picture, (H, W, 3) uint8 BGR; the caller writes into it between calls.
        runtime: name of the runtime that executes it.
    """

    def __init__(self, name: str, config: ModelsConfig) -> None:
        """Load and warm up the model called `name` in the manifest.

        Raises:
            ModelError: the model, the runtime or the delegate is missing, damaged or differs from the manifest.
        """
        folder = Path(config.folder) if config.folder else manifest.default_folder()
        self.contract, content = manifest.read_model(folder, name)
        self.runtime, module = _import_runtime(config.runtime)
        self._interpreter = _interpreter(module, content, config, f"{folder / self.contract.file}")
        self._tensor: BgrImage = self._owned_copy(self._checked_input()).view(np.uint8)[0]
        self._outputs = {role: _Output.of(tensor, self._owned_copy(index)) for role, tensor, index in self._checked()}
        self.pixels: BgrImage = np.zeros(self.contract.input.shape[1:], np.uint8)
        self()

    def __call__(self) -> None:
        """Run the model on `pixels`."""
        np.bitwise_xor(self.pixels, _TOP_BIT, out=self._tensor)
        self._interpreter.invoke()

    def invoke(self) -> None:
        """Run the network on the present content of its input tensor, for measurements."""
        self._interpreter.invoke()

    def read(self, role: str, rows: NDArray[np.intp] | slice = slice(None)) -> FloatArray:
        """Copy one output as float32 real values, without the batch axis; only `rows` of the second axis."""
        output = self._outputs[role]
        stored = output.stored[0, rows]
        return np.array(stored, np.float32) if output.reals is None else output.reals[stored]

    def quantized_floor(self, role: str, real: float) -> NDArray[np.intp]:
        """Indices on the second axis where a (1, N, 1) output is at least `real`, found without converting it."""
        output = self._outputs[role]
        values: FloatArray = output.stored.ravel() if output.reals is None else output.reals[output.stored.ravel()]
        return (values >= real).nonzero()[0]

    def _owned_copy(self, index: int) -> NDArray[Any]:
        """The memory of a tensor as an array that can be kept.

        The memory does not move: shapes are fixed, and `allocate_tensors` is never called again. Asking the
        interpreter each time takes longer than reading; `invoke` refuses to run while one of its own arrays exists.
        """
        view = self._interpreter.tensor(index)()
        memory = (ctypes.c_byte * view.nbytes).from_address(view.ctypes.data)
        return np.frombuffer(memory, view.dtype).reshape(view.shape)

    @property
    def delegated(self) -> int | None:
        """Number of graph partitions that a delegate executes, XNNPACK by default, instead of the runtime's kernels.

        None if the runtime does not provide it: neither runtime documents a way to ask.
        """
        operations = getattr(self._interpreter, "_get_ops_details", None)
        return None if operations is None else sum(each["op_name"] == "DELEGATE" for each in operations())

    def _checked_input(self) -> int:
        details = self._interpreter.get_input_details()
        wanted = self.contract.input
        if len(details) != 1 or tuple(details[0]["shape"]) != wanted.shape or details[0]["dtype"] is not np.int8:
            raise ModelError(
                f"{self.contract.file}: its input is not int8 {wanted.shape} as in the manifest; reinstall the models"
            )
        return int(details[0]["index"])

    def _checked(self) -> Iterator[tuple[str, manifest.Tensor, int]]:
        """Role, contract and index of every output."""
        found = {str(detail["name"]): detail for detail in self._interpreter.get_output_details()}
        for role, tensor in self.contract.outputs.items():
            detail = found.get(tensor.name)
            if detail is None or tuple(detail["shape"]) != tensor.shape:
                raise ModelError(f"{self.contract.file}: no output '{tensor.name}' of shape {tensor.shape}")
            yield role, tensor, int(detail["index"])


def _import_runtime(wanted: str) -> tuple[str, Any]:
    """Name and module of the configured runtime, or of the first installed one."""
    names = list(_RUNTIMES) if wanted == "auto" else [wanted]
    for name in names:
        try:
            return name, importlib.import_module(_RUNTIMES[name])
        except ModuleNotFoundError:
            continue
    raise ModelError(f"TFLite runtime {' or '.join(names)} is not installed; run: pip install {names[0]}")


def _interpreter(module: Any, content: bytes, config: ModelsConfig, where: str) -> _Interpreter:
    delegates = _delegates(module, content, config, where)
    with captured_stderr() as stderr_text:
        try:
            interpreter: _Interpreter = module.Interpreter(
                model_content=content, num_threads=config.threads, experimental_delegates=delegates
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{where}: the runtime refuses it ({error} {stderr_text()})".replace("\n", " ")) from error
    return interpreter


def _delegates(module: Any, content: bytes, config: ModelsConfig, where: str) -> list[Any] | None:
    if config.delegate == "none":
        return None
    if EDGETPU_OP not in content:  # the delegate would leave the whole model to the CPU without an error
        raise ModelError(
            f"{where}: not compiled for the Edge TPU, all of it would run on the CPU; compile it with "
            'threshold quantize --edgetpu and name that folder in [models] folder, or set [models] delegate = "none"'
        )
    try:
        ctypes.CDLL(_EDGETPU_LIBRARY)  # a failed attempt of the runtime leaves an object whose destructor prints errors
        return [module.load_delegate(_EDGETPU_LIBRARY)]
    except (OSError, ValueError) as error:
        raise ModelError(
            f"delegate 'edgetpu': {_EDGETPU_LIBRARY} cannot be loaded ({error or 'no device'}); "
            'plug in the accelerator and install libedgetpu1-std, or set [models] delegate = "none"'
        ) from error
