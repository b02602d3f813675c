"""What calibration found on faces and a recipe needs, models/ranges/<name>.json; committed, so nobody needs faces."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.core.errors import ModelError
from edge.core.files import atomic_write
from edge.vision.manifest import OperatingPoint
from threshold_tools.quantize.equalize import Exponents
from threshold_tools.quantize.int8 import Ranges


class CalibrationData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What calibration found, models/ranges/<name>.json.

    Attributes:
        faces: what it was measured on, for people.
        equalization: per convolution, each output channel's factor as a power of two in quarter steps; empty: none.
        ranges: lowest and highest value of every tensor between the nodes, after equalization.
        centres: per centred output, the middle of what each value was seen to be.
        corrections: per corrected output, the mean by which each value came out too low in int8.
        impostors, typical_length: embedder only, see `edge.vision.manifest.Model`.
    """

    faces: str
    equalization: Exponents
    ranges: Ranges
    centres: dict[str, list[int]] = {}
    corrections: dict[str, list[float]] = {}
    impostors: tuple[OperatingPoint, ...] = ()
    typical_length: float = 0.0


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
    fields = msgspec.to_builtins(measured)
    lines = []
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            rows = [f"    {_json(k)}: {_json(v)}" for k, v in value.items()]
            lines.append(f"  {_json(key)}: {{\n" + ",\n".join(rows) + "\n  }")
        else:
            lines.append(f"  {_json(key)}: {_json(value)}")
    atomic_write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode().replace("\n", "")
