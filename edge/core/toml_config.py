"""TOML to typed tables: an unknown key is an error that names the nearest known one, and every error is one line."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge.core.errors import ConfigError
from edge.core.validation_messages import explain

T = TypeVar("T")


class StrictStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table in a TOML file."""


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    try:
        return tomllib.loads(text, parse_float=_parse_finite_float)
    except ValueError as error:  # besides TOMLDecodeError, for a number of thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error


def _parse_finite_float(text: str) -> float:
    """No infinite number; what has a range refuses nan by itself, and says where it stands."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is no number to reckon with")
    return value


def convert(value: object, kind: type[T], place: str = "") -> T:
    """Check a value read from TOML, and give it its type.

    Args:
        value: as read.
        kind: the type that it must have.
        place: where it stands in the file, "" for the whole of it.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or range.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(explain(error, kind, value, place)) from error
    except RecursionError as error:
        raise ConfigError(f"{place or 'top level'}: nested too deeply") from error
