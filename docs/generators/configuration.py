"""Write docs/reference/configuration.md, the reference of door.toml, from the types that read it.

.venv/bin/python docs/generators/configuration.py            # after a change of edge/core/config.py
.venv/bin/python docs/generators/configuration.py --check    # 1 if the page is not what it would write
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from edge.core import config
from edge.core.cli_support import run_main
from edge.core.config import DoorConfig
from edge.core.errors import ExpectationError
from edge.core.files import atomic_write
from edge.core.toml_config import StrictStruct

PAGE = Path(__file__).parent.parent / "reference/configuration.md"
_HEAD = """# door.toml

Every key of a door's configuration, with its default; only `site` and `door` have none. This page is written by
`docs/generators/configuration.py` from the types in `edge/core/config.py`. An unknown key, a wrong type or a value out
of range is refused at start, with its place and the nearest known key. Distances are squared Euclidean distances of
unit vectors, 0 to 4: lower is nearer, and a lower threshold is stricter.
"""
_TABLE = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"


def page() -> str:
    """The whole page, Markdown."""
    comments = _comments(Path(config.__file__).read_text(encoding="utf-8"))
    hints = get_type_hints(DoorConfig)
    tables = {name: _table_of(hint) for name, hint in hints.items()}
    plain = [field for field in msgspec.structs.fields(DoorConfig) if tables[field.name] is None]
    parts = [_HEAD, _rows(DoorConfig, [field.name for field in plain], comments)]
    for field in msgspec.structs.fields(DoorConfig):
        table = tables[field.name]
        if table is not None:
            optional = " Without this table it is off." if field.default is None else ""
            names = [each.name for each in msgspec.structs.fields(table)]
            said = " ".join((table.__doc__ or "").split())
            parts.append(f"## [{field.name}]\n\n{said}{optional}\n\n{_rows(table, names, comments)}")
    return "\n".join(parts)


def _table_of(hint: object) -> type[StrictStruct] | None:
    """The table behind a key: `StrictStruct` or `StrictStruct | None`."""
    for each in getattr(hint, "__args__", (hint,)):
        if isinstance(each, type) and issubclass(each, StrictStruct):
            return each
    return None


def _rows(table: type[StrictStruct], names: Sequence[str], comments: dict[tuple[str, str], str]) -> str:
    schema = msgspec.json.schema(table)["$defs"][table.__name__]["properties"]
    lines = []
    for field in msgspec.structs.fields(table):
        if field.name in names:
            default = "" if field.required else f"`{_toml(field.default)}`"
            meaning = comments.get((table.__name__, field.name), "")
            lines.append(f"| `{field.name}` | {_type(schema[field.name])} | {default} | {_cell(meaning)} |\n")
    return _TABLE + "".join(lines)


def _type(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{_toml(each)}`" for each in schema["enum"])
    if "$ref" in schema:
        return "table"
    name = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false"}
    words = name.get(schema.get("type", ""), "list")
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in schema
    ]
    return " ".join([words, ", ".join(limits)]).strip()


def _toml(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _comments(source: str) -> dict[tuple[str, str], str]:
    """The comment on the line of each field, by class and field."""
    owner, found = "", {}
    for line, comment in _lines(source):
        if opened := re.match(r"class (\w+)", line):
            owner = opened[1]
        elif named := re.match(r"    (\w+): ", line):
            found[owner, named[1]] = comment
    return found


def _lines(source: str) -> Iterator[tuple[str, str]]:
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for number, line in enumerate(source.splitlines(), start=1):
        yield line, comments.get(number, "")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        ExpectationError: --check, and the page is another one.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the page is out of date")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page (default: %(default)s)")
    given = parser.parse_args(arguments)
    path: Path = given.page
    if not given.check:
        atomic_write(path, page().encode())
        print(f"{path}: written", file=sys.stderr)
    elif not path.exists() or path.read_text(encoding="utf-8") != page():
        raise ExpectationError(f"{path}: out of date; run docs/generators/configuration.py")


if __name__ == "__main__":
    run_main(main)
