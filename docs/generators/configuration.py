"""Write docs/reference/configuration.md, the reference of door.toml, from the types that read it.

The meaning of a key is its comment in edge/core/config.py; unit and "change it when" are in configuration_keys.toml.

.venv/bin/python docs/generators/configuration.py            # after a change of edge/core/config.py
.venv/bin/python docs/generators/configuration.py --check    # 1 if the page is out of date
"""

from __future__ import annotations

import argparse
import io
import re
import tokenize
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from generated_files import write_or_check

from edge.core import config
from edge.core.cli_support import run_main
from edge.core.config import DoorConfig
from edge.core.errors import ExpectationError
from edge.core.toml_config import StrictStruct

PAGE = Path(__file__).parent.parent / "reference/configuration.md"
KEYS = Path(__file__).with_name("configuration_keys.toml")
_TOP = "door.toml"  # the table of KEYS for keys outside all tables
_UNITS = {
    "_s": "seconds",
    "_px": "pixels",
    "_deg": "degrees",
    "_sq": "squared distance",
    "_days": "days",
    "_mb": "MiB",
}
_HEAD = """# door.toml

Every key of a door's configuration. Only `site` and `door` are required; a key that you leave out has its default.

```toml
site = "home"
door = "front"

[camera]
source = "/dev/video0"
```

`edge setup` writes such a file, and `edge check` reads it. An unknown key, a wrong type or a value out of range is an
error that names the place and the nearest known key.

Distances are squared Euclidean distances of unit vectors, 0 to 4: **lower is nearer**. For thresholds, **lower is
stricter**. Keys of one table follow a heading such as `[camera]`; keys without a table come first in the file.

| table | subject |
| --- | --- |
"""
_DOCUMENT = re.compile(r"docs/([\w/-]+\.md)")
_TABLE = "| key | default, range | meaning | change it when |\n| --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Key:
    """One key of door.toml as the page shows it."""

    name: str
    default: str
    allowed: str
    unit: str
    meaning: str
    change: str


def page() -> str:
    """Return the whole page, Markdown.

    Raises:
        ExpectationError: a key lacks its meaning, its unit or its "change it when".
    """
    source = Path(config.__file__).read_text(encoding="utf-8")
    notes = tomllib.loads(KEYS.read_text(encoding="utf-8"))
    parts, contents = [], []
    for name, table in tables().items():
        keys = keys_of(table, source, notes.get(name, {}))
        if name == _TOP:
            parts.append(_rows(keys))
            continue
        subject = _DOCUMENT.sub(r"[\g<0>](../\g<1>)", " ".join((table.__doc__ or "").split()))
        optional = " The feature is off unless the table exists." if name in _optional() else ""
        parts.append(f"## [{name}]\n\n{subject}{optional}\n\n{_rows(keys)}")
        contents.append(f"| [`[{name}]`](#{name}) | {re.split(r'(?<=[a-z)])[.:](?: |$)', subject)[0]} |\n")
    return "\n".join([_HEAD + "".join(contents), *parts])


def tables() -> dict[str, type[StrictStruct]]:
    """Return the tables of door.toml by name; the first one holds the keys outside all tables."""
    found: dict[str, type[StrictStruct]] = {_TOP: DoorConfig}
    for name, hint in get_type_hints(DoorConfig).items():
        if (table := _table_of(hint)) is not None:
            found[name] = table
    return found


def keys_of(table: type[StrictStruct], source: str, notes: Mapping[str, Mapping[str, str]]) -> list[Key]:
    """Return the keys of one table in their order.

    Args:
        table: class that reads the table.
        source: Python source of that class.
        notes: `change` and `unit` by key, as in configuration_keys.toml.

    Raises:
        ExpectationError: a key lacks its meaning, its unit or its "change it when", or a note belongs to no key.
    """
    schema = msgspec.json.schema(table)["$defs"][table.__name__]["properties"]
    comments, hints = _comments(source), get_type_hints(table)
    keys = []
    for field in msgspec.structs.fields(table):
        if _table_of(hints[field.name]) is not None:
            continue
        note = notes.get(field.name, {})
        allowed, numeric = _allowed(schema[field.name], field.default)
        unit = note.get("unit") or next((unit for end, unit in _UNITS.items() if field.name.endswith(end)), "")
        default = "required" if field.required else _code(field.default)
        meaning = comments.get((table.__name__, field.name), "")
        keys.append(Key(field.name, default, allowed, unit if numeric else "", meaning, note.get("change", "")))
        for what, value in (("comment in edge/core/config.py", meaning), (f"`change` in {KEYS.name}", keys[-1].change)):
            if not value:
                raise ExpectationError(f"{table.__name__}.{field.name}: no {what}")
        if numeric and not unit:
            raise ExpectationError(f"{table.__name__}.{field.name}: no `unit` in {KEYS.name}")
    if unknown := notes.keys() - {key.name for key in keys}:
        raise ExpectationError(f"{KEYS.name}: {table.__name__} has no key {', '.join(sorted(unknown))}")
    return keys


def _optional() -> set[str]:
    return {field.name for field in msgspec.structs.fields(DoorConfig) if field.default is None}


def _table_of(hint: object) -> type[StrictStruct] | None:
    """The table behind a key: `StrictStruct` or `StrictStruct | None`."""
    for each in getattr(hint, "__args__", (hint,)):
        if isinstance(each, type) and issubclass(each, StrictStruct):
            return each
    return None


def _rows(keys: Sequence[Key]) -> str:
    lines = []
    for key in keys:
        value = f"{key.default} <br>" + ", ".join(filter(None, (key.unit, key.allowed)))
        cells = (f"`{key.name}`", value, _sentence(key.meaning), _sentence(key.change))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return _TABLE + "".join(lines)


def _sentence(text: str) -> str:
    """Text with a capital letter, unless it begins with a name, and a full stop."""
    begins = re.match(r"[a-z]+(?=[ ;,]|$)", text)
    text = text[:1].upper() + text[1:] if begins and begins[0] not in {"picamera2"} else text
    return text if text.endswith((".", ".)")) else f"{text}."


def _allowed(schema: Mapping[str, Any], default: object) -> tuple[str, bool]:
    """The values that a key accepts besides its default, in words, and whether they are numbers that have a unit."""
    if "anyOf" in schema:
        return _allowed(next(each for each in schema["anyOf"] if each.get("type") != "null"), default)
    kind = schema.get("type", "")
    choices = [True, False] if kind == "boolean" else schema.get("enum", [])
    if choices:
        others = [f"`{_toml(each)}`" for each in choices if each != default]
        return f"or {', '.join(others)}" if default in choices else ", ".join(others), False
    if kind == "array":
        return f"list of {_allowed(schema['items'], None)[0]}", False
    if kind in {"number", "integer"}:
        return _range(schema), True
    return schema.get("description", "text"), False


def _range(schema: Mapping[str, float]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if "exclusiveMinimum" in schema:
        return f"above {low:g}" + (f", up to {high:g}" if high is not None else "")
    return f"{low:g} to {high:g}" if high is not None else f"{low:g} or more"


def _code(value: object) -> str:
    return "not set" if value is None else f"`{_toml(value)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _comments(source: str) -> dict[tuple[str, str], str]:
    """The comment of each field by class and field: the lines directly above it and the end of its line."""
    at_line = {
        token.start[0]: (token.start[1], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    owner, above, found = "", list[str](), dict[tuple[str, str], str]()
    for number, line in enumerate(source.splitlines(), start=1):
        column, comment = at_line.get(number, (0, ""))
        if comment and not line[:column].strip():
            above.append(comment)
            continue
        if opened := re.match(r"class (\w+)", line):
            owner = opened[1]
        elif named := re.match(r"    (\w+): ", line):
            found[owner, named[1]] = " ".join([*above, comment]).strip()
        above = []
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        ExpectationError: a key is incomplete, or with --check the page is out of date.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    parser.add_argument("--page", type=Path, metavar="FILE", default=PAGE, help="page to write (default: %(default)s)")
    given = parser.parse_args(arguments)
    write_or_check({given.page: page()}, check=given.check, program="docs/generators/configuration.py")


if __name__ == "__main__":
    run_main(main)
