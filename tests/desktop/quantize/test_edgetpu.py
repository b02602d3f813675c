"""Operations that a Coral Edge TPU runs, by its documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from threshold_tools.quantize import edgetpu
from threshold_tools.quantize.edgetpu_support import Op, Operand, SupportLevel, edgetpu_support
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.graph import Graph, Node, write_graph
from threshold_tools.quantize.recipe import RECIPES, read_calibration

from edge.core.errors import InputError, ModelError, ThresholdError
from edge.vision.manifest import Model, default_folder, read_manifest, read_model
from edge.vision.tflite import EDGETPU_OP

INT8, FLOAT, INT32 = schema.TensorType.INT8, schema.TensorType.FLOAT32, schema.TensorType.INT32
IMAGE = (1, 16, 16, 8)


def act(*shape: int, dtype: int = INT8, fixed: bool = True) -> Operand:
    """An activation."""
    return Operand(shape or IMAGE, dtype, fixed)


def const(values: Any, dtype: int = INT8) -> Operand:
    """A constant."""
    array = np.array(values, np.int32 if dtype == INT32 else np.int8)
    return Operand(array.shape, dtype, values=array)


def options(**fields: int) -> Any:
    """An option object."""
    return type("Options", (), fields)()


def judged(kind: str, *inputs: Operand, **fields: int) -> tuple[SupportLevel, str]:
    return edgetpu_support(Op(kind, list(inputs), [act()], options(**fields) if fields else None))


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("ADD", [act(), act()]),
        ("MAXIMUM", [act(), act()]),
        ("CONV_2D", [act(), const(np.zeros((8, 1, 1, 8))), const(np.zeros(8), INT32)]),
        ("MAX_POOL_2D", [act()]),
        ("PAD", [act(), const([[0, 0], [1, 1], [1, 1], [0, 4]], INT32)]),
        ("PRELU", [act(), const(np.zeros((1, 1, 8)))]),
        ("MEAN", [act(), const([1, 2], INT32)]),
        ("MEAN", [act(), const([3], INT32)]),
        ("SOFTMAX", [act(1, 100)]),
        ("CONCATENATION", [act(), const(np.zeros(IMAGE))]),
        ("STRIDED_SLICE", [act(), const([0] * 4, INT32), const([1] * 4, INT32), const([1] * 4, INT32)]),
    ],
)
def test_what_the_documentation_lists_is_mapped(kind: str, inputs: list[Operand]) -> None:
    assert judged(kind, *inputs) == (SupportLevel.YES, "")


@pytest.mark.parametrize(
    ("kind", "inputs", "fields", "why"),
    [
        ("DEQUANTIZE", [act()], {}, "not on the list"),
        ("LEAKY_RELU", [act()], {}, "not on the list"),
        ("ADD", [act(dtype=FLOAT), act(dtype=FLOAT)], {}, "a float32 tensor"),
        ("ADD", [act(fixed=False), act()], {}, "a size that is not fixed"),
        ("ADD", [act(2, 16, 16, 8), act(2, 16, 16, 8)], {}, "more than 3 dimensions"),
        ("MAX_POOL_2D", [act()], {"fusedActivationFunction": 1}, "activation is fused"),
        ("CONCATENATION", [act(), act()], {"fusedActivationFunction": 1}, "activation is fused"),
        ("CONCATENATION", [act(), const(np.ones(IMAGE))], {}, "padding of two inputs with zeros"),
        ("CONV_2D", [act(), act(1, 1, 1, 8)], {}, "not constant"),
        ("CONV_2D", [act(), const(np.zeros((8, 3, 3, 8)))], {"dilationWFactor": 2, "dilationHFactor": 1}, "dilation"),
        ("PAD", [act(), const([[1, 0], [0, 0], [0, 0], [0, 0]], INT32)], {}, "batch dimension"),
        ("PAD", [act(), act(4, 2)], {}, "not constant"),
        ("PRELU", [act(), const(np.zeros((16, 16, 8)))], {}, "more than one slope per channel"),
        ("PRELU", [act(), act(1, 1, 8)], {}, "not constant"),
        ("MEAN", [act(), const([0, 1], INT32)], {}, "batch dimension"),
        ("MEAN", [act(1, 16, 16, 6), const([-1], INT32)], {}, "not a multiple of 4"),
        ("REDUCE_MAX", [act(), const([0], INT32)], {}, "batch dimension"),
        ("PACK", [act(), act()], {"axis": 0}, "batch dimension"),
        ("SPLIT", [const(0, INT32), act()], {}, "batch dimension"),
        ("SOFTMAX", [act(1, 2, 100)], {}, "more than one dimension"),
        ("SOFTMAX", [act(1, 20_000)], {}, "more than 16,000"),
        ("FULLY_CONNECTED", [act(1, 8), const(np.zeros((4, 8)))], {}, "more than one dimension"),
        (
            "STRIDED_SLICE",
            [act(), const([0] * 4, INT32), const([1] * 4, INT32), const([1, 2, 2, 1], INT32)],
            {},
            "strides other than 1",
        ),
    ],
)
def test_documented_limits_are_checked(kind: str, inputs: list[Operand], fields: dict[str, int], why: str) -> None:
    fit, told = judged(kind, *inputs, **fields)
    assert fit is SupportLevel.NO
    assert why in told


def test_operations_decided_by_the_compiler_are_doubtful() -> None:
    assert judged("RESHAPE", act())[0] is SupportLevel.DOUBTFUL
    fit, why = judged("RESIZE_BILINEAR", act(), const([32, 32], INT32), halfPixelCenters=1)
    assert fit is SupportLevel.DOUBTFUL
    assert "half-pixel" in why
    assert "half-pixel" not in judged("RESIZE_BILINEAR", act(), const([32, 32], INT32), halfPixelCenters=0)[1]


def test_a_float_model_ends_at_its_first_operation() -> None:
    shapes: dict[str, tuple[int, ...]] = {"x": IMAGE, "y": IMAGE}
    content = write_graph(Graph([Node("ADD", ["x", "x"], "y", schema.AddOptionsT())], {}, shapes, ["x"], {"out": "y"}))
    mapping = edgetpu.examine("float", content)
    end = mapping.end(doubtful_fails=False)
    assert end is not None
    assert (end.number, end.kind, end.support) == (0, "ADD", SupportLevel.NO)
    assert mapping.share(doubtful_fails=False) == 0
    assert "the mapping ends at operation 0, ADD [1, 16, 16, 8]: a float32 tensor, not 8 bits" in edgetpu.show(
        [mapping]
    )


def test_after_the_first_unmapped_operation_nothing_is_mapped() -> None:
    def operation(number: int, fit: SupportLevel) -> edgetpu.Operation:
        return edgetpu.Operation(number, "CONV_2D", (1, 1, 1, 1), 10, fit)

    fits = [SupportLevel.YES, SupportLevel.DOUBTFUL, SupportLevel.YES, SupportLevel.NO, SupportLevel.YES]
    mapping = edgetpu.Mapping("m", [operation(number, fit) for number, fit in enumerate(fits)])
    assert (mapping.share(doubtful_fails=False), mapping.share(doubtful_fails=True)) == (0.6, 0.2)
    text = edgetpu.show([mapping])
    assert "m: 3 of 5 operations are mapped, 60.0 % of the multiplications" in text
    assert "from there on the CPU: 2 CONV_2D" in text
    assert "if not mapped, it ends at 1 with 20.0 %" in text


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_integer_forms_are_mapped_except_float_heads(name: str) -> None:
    original = fetch_original(RECIPES[name].source, cache_folder())
    whole = RECIPES[name].make_int8(original, read_calibration(default_folder(), name), whole=True)
    mapping = edgetpu.examine(name, whole)
    end = mapping.end(doubtful_fails=False)
    assert mapping.share(doubtful_fails=False) > 0.9
    if end is None:
        assert name == "embedder"
    else:
        assert end.kind == "DEQUANTIZE"
        assert "float32" in end.why


def test_another_file_is_refused() -> None:
    with pytest.raises(ModelError, match="not a TFLite file"):
        edgetpu.examine("x", b"nothing of the kind")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the compiler's place that leaves what its shell commands leave; returns its file."""
    program = tmp_path / "bin" / edgetpu.COMPILER
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'out="$3"; shift 3\n'
        'for file in "$@"; do\n'
        '  { cat "$file"; printf edgetpu-custom-op; } > "$out/$(basename "$file" .tflite)_edgetpu.tflite"\n'
        "done\n"
        "echo Model compiled successfully\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def wholes(*names: str) -> dict[str, tuple[Model, bytes]]:
    """Files to compile; the compiler's stand-in takes any."""
    return {name: read_model(default_folder(), name) for name in names}


def test_compiled_models_get_a_manifest_of_their_own(compiler: Path, tmp_path: Path) -> None:
    assert edgetpu.installed()
    out = tmp_path / "tpu"
    assert "compiled" in edgetpu.compile_models(wholes("landmarks", "embedder"), out)
    contract, content = read_model(out, "embedder")
    assert contract.file == "embedder_edgetpu.tflite"
    assert EDGETPU_OP in content
    assert sorted(read_manifest(out).models) == ["embedder", "landmarks"]
    assert contract.template_px == read_model(default_folder(), "embedder")[0].template_px


def test_compiler_failures_are_reported(compiler: Path, tmp_path: Path) -> None:
    compiler.write_text("#!/bin/sh\necho Model not quantized\n")
    with pytest.raises(ThresholdError, match="mapped no operation of embedder; its last line: Model not quantized"):
        edgetpu.compile_models(wholes("embedder"), tmp_path / "a")
    compiler.write_text("#!/bin/sh\necho Internal error >&2; exit 1\n")
    with pytest.raises(ThresholdError, match=r"failed \(1\): Internal error"):
        edgetpu.compile_models(wholes("embedder"), tmp_path / "b")
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_without_the_compiler_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not edgetpu.installed()
    with pytest.raises(InputError, match="edgetpu_compiler is not on the PATH"):
        edgetpu.compile_models(wholes("embedder"), tmp_path)
