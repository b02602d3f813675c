"""Runs float graphs and int8 files with the same interface and the same pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edge.core.files import captured_stderr
from edge.core.records import BgrImage, FloatArray
from threshold_tools.quantize.graph import Graph, write_graph

_STORED = (np.arange(256, dtype=np.uint8) ^ 0x80).view(np.int8)  # int8 input for each pixel value


class ModelRunner:
    """A TFLite file, loaded with one thread.

    Attributes:
        input, outputs: LiteRT details of the input, and of each output by role.
        size_px: side of the square input.
        invoke: runs the model on its present input.
    """

    def __init__(self, content: bytes, image_range: tuple[float, float] = (0.0, 0.0)) -> None:
        """
        Args:
            content: int8 file, by the contract of the manifest, or float file.
            image_range: real values of the darkest and the brightest pixel, for a float file.
        """
        with captured_stderr():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        (self.input,) = self._interpreter.get_input_details()
        self.outputs = {d["name"]: d for d in self._interpreter.get_output_details()}
        self.size_px = int(self.input["shape"][1])
        self.invoke = self._interpreter.invoke
        is_int8 = self.input["dtype"] is np.int8
        self._values = _STORED if is_int8 else np.linspace(*image_range, 256, dtype=np.float32)

    def __call__(self, pixels: BgrImage) -> dict[str, FloatArray]:
        """Outputs by role, as real values, for a picture (size, size, 3) uint8 BGR."""
        self._interpreter.set_tensor(self.input["index"], self._values[pixels][None])
        self.invoke()
        return {role: self._real(details) for role, details in self.outputs.items()}

    def _real(self, details: dict) -> FloatArray:  # type: ignore[type-arg]  # LiteRT's own dictionary
        stored: NDArray[np.generic] = self._interpreter.get_tensor(details["index"])
        if stored.dtype == np.float32:
            return np.asarray(stored, np.float32)
        scale, zero_point = details["quantization"]
        return np.asarray((stored.astype(np.float32) - zero_point) * scale, np.float32)

    def delegated(self) -> tuple[int, int]:
        """Number of partitions that XNNPACK runs, and of int8 nodes that it leaves to the plain kernels."""
        nodes = self._interpreter._get_ops_details()  # the only access to the delegated plan from Python
        kinds = [node["op_name"] for node in nodes]
        return kinds.count("DELEGATE"), kinds.count("MAXIMUM")


def float_runner(graph: Graph, image_range: tuple[float, float], *, watch: bool = False) -> ModelRunner:
    """A runner of a float graph after `rewrite.fold_input`, which is not changed; `watch`: each tensor is an output."""
    return ModelRunner(write_graph(graph.copy(), watch), image_range)


def paired_ms(calls: Sequence[Callable[[], None]], rounds: int = 40, repeats: int = 5) -> FloatArray:
    """Processor time of each call in each round (calls, rounds), ms; calls alternate, so that load affects all.

    Only the time of this thread counts: the models are loaded with one thread.
    """
    times = np.zeros((len(calls), rounds), np.float32)
    for call in calls:
        call()
    for k in range(rounds):
        for row, call in enumerate(calls):
            start = time.thread_time()
            for _ in range(repeats):
                call()
            times[row, k] = (time.thread_time() - start) / repeats * 1e3
    return times
