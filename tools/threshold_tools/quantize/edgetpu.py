"""Reports which operations of a model a Coral Edge TPU runs, and calls its compiler if it is installed.

The compiler maps operations in order of execution up to the first that it cannot map; that one and all later ones run
on the CPU (https://coral.ai/docs/edgetpu/models-intro/#compiling).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.core.errors import InputError, ThresholdError
from edge.core.files import atomic_write
from edge.vision.manifest import Manifest, Model, read_manifest
from edge.vision.tflite import EDGETPU_OP
from threshold_tools.quantize.edgetpu_support import Op, Operand, SupportLevel, edgetpu_support
from threshold_tools.quantize.graph import Array, kind_of, shape_of, unpack

COMPILER = "edgetpu_compiler"
_TIMEOUT_S = 1800
_LISTED = 6  # largest number of doubtful operations listed


class Operation(msgspec.Struct, frozen=True):
    """One operation."""

    number: int  # from 0, in order of execution
    kind: str
    shape: tuple[int, ...]  # of its output
    multiplications: int  # number in a convolution or a fully connected layer, else 0
    support: SupportLevel
    why: str = ""  # reason against mapping it


class Mapping(msgspec.Struct, frozen=True):
    """Mapping of the operations of one model."""

    model: str
    operations: list[Operation]  # in order of execution
    compiled: bool = False  # the file is output of the compiler; the mapped part is one operation

    def end(self, *, doubtful_fails: bool) -> Operation | None:
        """The first operation that is not mapped, or None if all are mapped."""
        bad = (SupportLevel.NO, SupportLevel.DOUBTFUL) if doubtful_fails else (SupportLevel.NO,)
        return next((operation for operation in self.operations if operation.support in bad), None)

    def share(self, *, doubtful_fails: bool) -> float:
        """Share of the multiplications that are mapped, 0..1."""
        end = self.end(doubtful_fails=doubtful_fails)
        mapped = self.operations if end is None else self.operations[: end.number]
        total = sum(operation.multiplications for operation in self.operations)
        return sum(operation.multiplications for operation in mapped) / total if total else float(end is None)


def examine(name: str, content: bytes) -> Mapping:
    """Compare every operation of a TFLite file with the documented list.

    Raises:
        ModelError: not a TFLite file with one subgraph.
    """
    model = unpack(content)
    subgraph = model.subgraphs[0]
    tensors = [_operand(tensor, model.buffers[tensor.buffer].data) for tensor in subgraph.tensors]
    operations = []
    for number, operator in enumerate(subgraph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        op = Op(
            kind_of(model, operator),
            [tensors[i] for i in operator.inputs if i >= 0],
            [tensors[i] for i in operator.outputs],
            operator.builtinOptions,
        )
        fit, why = (SupportLevel.YES, "") if code.customCode == EDGETPU_OP else edgetpu_support(op)
        operations.append(Operation(number, op.kind, op.outputs[0].shape, _multiplications(op), fit, why))
    return Mapping(name, operations, compiled=any(code.customCode == EDGETPU_OP for code in model.operatorCodes))


def show(mappings: Iterable[Mapping]) -> str:
    """The result as text for people."""
    return "\n".join(line for mapping in mappings for line in _lines(mapping))


def _lines(mapping: Mapping) -> list[str]:
    operations = mapping.operations
    if mapping.compiled:
        left = Counter(operation.kind for operation in operations if operation.kind != "CUSTOM")
        return [f"{mapping.model}: compiled for the Edge TPU; on the CPU: {_counted(left) or 'nothing'}"]
    end, sure = mapping.end(doubtful_fails=False), mapping.end(doubtful_fails=True)
    mapped = len(operations) if end is None else end.number
    whole = f"all {len(operations)} operations are" if end is None else f"{mapped} of {len(operations)} operations are"
    lines = [
        f"{mapping.model}: {whole} mapped, {100 * mapping.share(doubtful_fails=False):.1f} % of the multiplications"
    ]
    if end is not None:
        rest = Counter(operation.kind for operation in operations[end.number :])
        lines.append(f"  the mapping ends at {_place(end)}")
        lines.append(f"  from there on the CPU: {_counted(rest)}")
    doubtful = [operation for operation in operations[:mapped] if operation.support is SupportLevel.DOUBTFUL]
    if doubtful and sure is not None:
        share = mapping.share(doubtful_fails=True)
        lines.append(
            f"  only the compiler can decide; if not mapped, it ends at {sure.number} with {100 * share:.1f} %:"
        )
        lines += [f"    {_place(operation)}" for operation in doubtful[:_LISTED]]
        lines += [f"    and {len(doubtful) - _LISTED} more"] if len(doubtful) > _LISTED else []
    return lines


def _place(operation: Operation) -> str:
    return f"operation {operation.number}, {operation.kind} {list(operation.shape)}: {operation.why}"


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def installed() -> bool:
    """Whether the compiler is on the PATH."""
    return shutil.which(COMPILER) is not None


def compile_models(wholes: dict[str, tuple[Model, bytes]], out: Path) -> str:
    """Compile models together, so that they share the memory of the Edge TPU, into a models folder.

    Args:
        wholes: contract and fully integer file by name.
        out: folder for the compiled files and their manifest.

    Returns:
        Output of the compiler.

    Raises:
        InputError: the compiler is not installed.
        ThresholdError: the compiler fails, or maps no operation.
    """
    if not installed():
        raise InputError(f"{COMPILER} is not on the PATH; it runs on x86-64 Debian and Ubuntu, from Coral's repository")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, model.file) for model, _ in wholes.values()]
        for file, (_, whole) in zip(files, wholes.values(), strict=True):
            file.write_bytes(whole)
        printed = _compile(["--show_operations", "--out_dir", str(out), *map(str, files)])
    models = dict(read_manifest(out).models) if (out / "manifest.json").is_file() else {}
    for name, (model, _) in wholes.items():
        path = out / f"{Path(model.file).stem}_edgetpu.tflite"
        content = path.read_bytes() if path.is_file() else b""
        if EDGETPU_OP not in content:
            raise ThresholdError(
                f"{path}: {COMPILER} mapped no operation of {name}; its last line: {_last_line(printed)}"
            )
        sha256 = hashlib.sha256(content).hexdigest()
        models[name] = msgspec.structs.replace(model, file=path.name, sha256=sha256)
    text = msgspec.json.format(msgspec.json.encode(Manifest(version=1, models=models)), indent=2)
    atomic_write(out / "manifest.json", text + b"\n")
    return printed


def _compile(arguments: list[str]) -> str:
    try:
        done = subprocess.run([COMPILER, *arguments], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ThresholdError(f"{COMPILER}: {error}") from error
    if done.returncode:
        raise ThresholdError(f"{COMPILER} failed ({done.returncode}): {_last_line(done.stderr or done.stdout)}")
    return done.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[-1].strip()


def _operand(tensor: Any, data: Any) -> Operand:
    signature = tensor.shapeSignature
    fixed = signature is None or all(int(side) >= 0 for side in signature)
    values: Array | None = None
    if data is not None and len(data):
        raw = np.asarray(data, np.uint8)
        values = raw.view("<i4") if tensor.type == schema.TensorType.INT32 else raw
    return Operand(shape_of(tensor), tensor.type, fixed, values)


def _multiplications(op: Op) -> int:
    """Multiplications of a convolution or a fully connected layer; 0 for other operations."""
    if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights, out = op.inputs[1].shape, int(np.prod(op.outputs[0].shape))
    return out * int(np.prod(weights[1:3] if op.kind == "DEPTHWISE_CONV_2D" else weights[1:]))
