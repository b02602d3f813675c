"""TOML to typed tables: an unknown key is an error that names the nearest known one, and every error is one line."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from edge.errors import ConfigError

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table in a TOML file."""


def read_tables(path: Path) -> dict[str, Any]:
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
        return tomllib.loads(text, parse_float=_finite)
    except ValueError as error:  # besides TOMLDecodeError, for a number of thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error


def _finite(text: str) -> float:
    """No infinite number; what has a range refuses nan by itself, and says where it stands."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is no number to reckon with")
    return value


def checked(value: object, kind: type[T], place: str = "") -> T:
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
        raise ConfigError(_explain(error, kind, place)) from error
    except RecursionError as error:
        raise ConfigError(f"{place or 'top level'}: nested too deeply") from error


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint for a name that does not exist: the nearest that does, else `otherwise`, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return otherwise or (f"known are {', '.join(known)}" if known else "there are none")


def _explain(error: msgspec.ValidationError, kind: Any, place: str) -> str:
    """msgspec's message in a user's words, with the nearest known key for an unknown one."""
    what, _, inner = str(error).partition(" - at ")
    inner = inner.strip("`$.")
    where = place + ("." if place and inner and not inner.startswith("[") else "") + inner
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown is None:
        return f"{where or 'top level'}: {what[:1].lower()}{what[1:]}"
    known = [field.encode_name for field in msgspec.structs.fields(_table(inner, kind))]
    key = unknown.group(1)
    return f"{f'[{where}]' if where else 'top level'}: unknown key '{key}'; {nearest(key, known)}"


def _table(where: str, kind: Any) -> type[Table]:
    """The type of the table at `where` within `kind`."""
    for name in filter(None, re.sub(r"\[.*?\]", "", where).split(".")):
        types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        inside = [one for one in (types[name], *get_args(types[name])) if isinstance(one, type)]
        kind = next(one for one in inside if issubclass(one, Table))
    table: type[Table] = kind
    return table
