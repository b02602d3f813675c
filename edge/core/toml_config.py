"""Converts TOML to typed tables; every error is one line with the key, the allowed values and what to write.

An unknown key is an error that names the most similar key. The wrong value is shown only if it is a number, a boolean,
or text where only certain words are allowed: any other text may contain a password.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edge.core.errors import ConfigError

T = TypeVar("T")

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_MISSING = re.compile(r"missing required field `(.*)`")
_UNKNOWN = re.compile(r"unknown field `(.*)`")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*(:\d{1,5})?", re.IGNORECASE | re.ASCII)
_MQTT = "^mqtts?://"
_EXPECTED: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.VarTupleType: "a list",
    inspect.TupleType: "a list",
    inspect.ListType: "a list",
    inspect.StructType: "a table",
    inspect.DictType: "a table",
}
_GOT = {
    bool: "a truth value",
    **dict.fromkeys((int, float), "a number"),
    str: "text",
    list: "a list",
    dict: "a table",
    **dict.fromkeys((datetime, date, time), "a date or time"),
}


class StrictStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table in a TOML file."""


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    try:
        return tomllib.loads(text, parse_float=_parse_finite_float)
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error


def _parse_finite_float(text: str) -> float:
    """Reject infinity; nan is rejected later by the range of its key, with the place in the file."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} must be a finite number")
    return value


def convert(value: object, kind: type[T], place: str = "") -> T:
    """Convert a value read from TOML to its type.

    Args:
        value: value from `load_toml`.
        kind: required type.
        place: place in the file for errors; "" for the whole file.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or range.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_describe(error, kind, value, place)) from error
    except RecursionError as error:
        raise ConfigError(f"{place or 'top level'}: nested too deeply") from error


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Hint for an unknown name: the most similar known one, else `otherwise`, else all known names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return otherwise or (f"known are {', '.join(known)}" if known else "there are none")


def _describe(error: msgspec.ValidationError, kind: Any, value: object, place: str) -> str:
    """Describe an error of `msgspec.convert` and its place in one line; other arguments as of `convert`."""
    what, _, path = str(error).partition(" - at ")
    path = path.strip("`").removeprefix("$")
    where = (place + path).lstrip(".")
    table = f"[{where}]" if where else "top level"
    wanted, given, found = _walk(inspect.type_info(kind), value, path)
    if missing := _MISSING.search(what):
        return f"{table}: '{missing.group(1)}' is missing"
    if unknown := _UNKNOWN.search(what):
        key = unknown.group(1)
        known = [field.encode_name for each in _plain(wanted) for field in getattr(each, "fields", ())]
        return f"{table}: unknown key '{key}'; {did_you_mean(key, known)}"
    problem = _problem(wanted, given, mismatch=", got `" in what) if found else ""
    if not problem:
        return f"{where or 'top level'}: {what[:1].lower()}{what[1:]}".replace("`", "")
    return f"{where or 'top level'}{_quoted(given)}: {problem}"


def _walk(wanted: inspect.Type, value: Any, path: str) -> tuple[inspect.Type, Any, bool]:
    """The type and the value at a path, and whether the value exists there."""
    found = True
    for name, index, _ in _STEP.findall(path):
        inner: inspect.Type | None = None
        for each in _plain(wanted):
            if isinstance(each, inspect.StructType) and name:
                inner = next((field.type for field in each.fields if field.encode_name == name), inner)
            elif isinstance(each, inspect.DictType):
                inner = each.value_type
            elif isinstance(each, inspect.VarTupleType | inspect.ListType):
                inner = each.item_type
        if inner is None:
            return wanted, value, False
        wanted = inner
        if name and isinstance(value, dict) and name in value:
            value = value[name]
        elif index and isinstance(value, list | tuple) and int(index) < len(value):
            value = value[int(index)]
        else:
            found = False
    return wanted, value, found


def _plain(wanted: inspect.Type) -> list[inspect.Type]:
    """Alternatives of a type, without None and metadata."""
    if isinstance(wanted, inspect.Metadata):
        return _plain(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        return [plain for each in wanted.types for plain in _plain(each)]
    return [] if isinstance(wanted, inspect.NoneType) else [wanted]


def _problem(wanted: inspect.Type, value: Any, *, mismatch: bool) -> str:
    """Problem of a value, "" if it is not known; `mismatch`: the value has the wrong type."""
    kinds = _plain(wanted)
    if mismatch:
        expected = " or ".join(dict.fromkeys(_noun(kind) for kind in kinds))
        return f"expected {expected}, got {_GOT.get(type(value), type(value).__name__)}{_remedy(kinds, value)}"
    for kind in kinds:
        match kind:
            case inspect.IntType() | inspect.FloatType():
                return _range(kind)
            case inspect.StrType(pattern=str()):
                return _pattern(wanted, kind, value)
            case inspect.StrType(min_length=int()) if not value:
                return "must not be empty"
            case inspect.LiteralType() | inspect.EnumType():
                one_of = f"one of {', '.join(map(str, _choices(kind)))}"
                return f"'{value}' is not {one_of}" if isinstance(value, str) else f"must be {one_of}"
            case inspect.VarTupleType(min_length=int()) if not value:
                return "the list must not be empty"
    return ""


def _pattern(wanted: inspect.Type, kind: inspect.StrType, value: str) -> str:
    if kind.pattern == _MQTT:
        example = f"mqtt://{value}" if _HOST.fullmatch(value) else "an address such as mqtt://localhost"
        return f"expected mqtt://host or mqtts://host; write {example}"
    return f"expected {_description(wanted) or f'text of the form {kind.pattern}'}"


def _description(wanted: inspect.Type) -> str:
    """Description of a type in its JSON schema, or ""."""
    if isinstance(wanted, inspect.Metadata):
        return str((wanted.extra_json_schema or {}).get("description", ""))
    members = wanted.types if isinstance(wanted, inspect.UnionType) else ()
    return next((text for each in members if (text := _description(each))), "")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    if low is None and high is None:
        return ""
    if high is None:
        return f"must be at least {low:g}" if kind.ge is not None else f"must be more than {low:g}"
    if low is None:
        return f"must be at most {high:g}"
    return f"allowed {low:g} to {high:g}" + (f", not {low:g} itself" if kind.ge is None else "")


def _choices(kind: inspect.Type) -> tuple[object, ...]:
    """Allowed values of an enumeration or a Literal."""
    if isinstance(kind, inspect.EnumType):
        return tuple(each.value for each in kind.cls)
    return kind.values if isinstance(kind, inspect.LiteralType) else ()


def _noun(kind: inspect.Type) -> str:
    choices = " or ".join(msgspec.json.encode(each).decode() for each in _choices(kind))
    return choices or _EXPECTED.get(type(kind), "text")


def _remedy(kinds: list[inspect.Type], value: object) -> str:
    wanted = {type(kind) for kind in kinds}
    if isinstance(value, str):
        is_number = wanted & {inspect.IntType, inspect.FloatType} and _NUMBER.fullmatch(value)
        if is_number or (inspect.BoolType in wanted and value in ("true", "false")):
            return "; remove the quotes"
        return "; put it in brackets" if wanted & {inspect.VarTupleType, inspect.ListType} else ""
    return "; put it in quotes" if isinstance(value, int | float) and inspect.StrType in wanted else ""


def _quoted(value: object) -> str:
    """The value as " = TOML", or "" if it can be a secret."""
    short = isinstance(value, str) and (_NUMBER.fullmatch(value) or value in ("true", "false"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f" = {value}"
    return f" = {msgspec.json.encode(value).decode()}" if short or isinstance(value, bool) else ""
