"""Where two TFLite files first differ."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema
from support.small_network import flipped_weight
from threshold_tools.quantize.comparison import differences
from threshold_tools.quantize.graph import pack

from edge.vision.manifest import default_folder, read_model

MODELS = default_folder()


def test_a_flipped_weight_is_found_and_named() -> None:
    """One bit among 800 kB: the operation, the tensor and the byte are named."""
    content = read_model(MODELS, "landmarks")[1]
    (difference,) = differences(content, flipped_weight(content))
    assert difference.startswith("operation 1")
    assert difference.endswith("bytes differ, first at 7")


def test_file_layout_is_not_a_difference() -> None:
    """Buffers in another order make other bytes and the same network."""
    content = read_model(MODELS, "detector-near")[1]
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    last = len(model.buffers)
    model.buffers = [model.buffers[0], *model.buffers[:0:-1]]
    for tensor in model.subgraphs[0].tensors:
        tensor.buffer = last - tensor.buffer if tensor.buffer else 0
    other = pack(model)
    assert other != content
    assert differences(content, other) == []


@pytest.mark.parametrize("broken", [b"", b"TFL3", b"\0" * 100])
def test_a_damaged_file_is_said_to_be_unreadable(broken: bytes) -> None:
    """Truncated or overwritten files end in a sentence, not in a traceback."""
    (difference,) = differences(read_model(MODELS, "detector-near")[1], broken)
    assert difference.startswith("not readable as a TFLite file")
