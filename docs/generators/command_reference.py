"""Write docs/reference/commands.md from the argument parsers of `edge` and `threshold`, the same text as `--help`.

.venv/bin/python docs/generators/command_reference.py            # after a change of a command line
.venv/bin/python docs/generators/command_reference.py --check    # 1 if the page is not what it would write
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

from generated_files import write_or_check
from threshold_tools import cli as desktop

from edge.cli import main as door
from edge.core.cli_support import run_main
from edge.core.errors import ExpectationError

PAGE = Path(__file__).parent.parent / "reference/commands.md"
_HEAD = """# Commands

`edge` runs at the door, `threshold` on the desktop. Results go to standard output, everything else to standard error.
Exit codes: 0 done; 1 something failed; 2 the command line, the configuration or an input cannot be used.

Distances are squared Euclidean distances between unit embeddings, 0 to 4: lower is nearer, and a lower threshold is
stricter. `docs/generators/command_reference.py` writes this page from the parsers that also print `--help`.

The scripts in `benchmarks/` (a clone only) are listed on [Benchmarks](../benchmarks.md).
"""
_WORDS = re.compile(r"^ +threshold (\w+) (\w+) PHOTOS", re.M)  # a subcommand that the description lists


class _FoundParserError(Exception):
    """Raised in place of parsing; args[0] is the parser."""


def page() -> str:
    """Return the whole page, Markdown.

    Raises:
        ExpectationError: an argument has no help text.
    """
    commands = list(_commands())
    index = ["| command | purpose |\n| --- | --- |\n"]
    index += [f"| [`{name}`](#{name.replace(' ', '-')}) | {_summary(parser)} |\n" for name, parser in commands]
    return "\n".join([_HEAD, "".join(index), *(_section(name, parser) for name, parser in commands)])


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its parser."""
    for name, parser in _leaves("edge", _parser_of(door.main, ["edge"])):
        yield name, parser
    for name in desktop.SUBCOMMANDS:
        parser = _parser_of(desktop.main, ["threshold", name])
        for full, leaf in _leaves(f"threshold {name}", parser):
            words = full.split()[1:]
            yield full, leaf if leaf.description else _parser_of(desktop.main, ["threshold", *words])
        for word in (each[2] for each in _WORDS.finditer(parser.description or "") if each[1] == name):
            inner = _parser_of(desktop.main, ["threshold", name, word])
            yield f"threshold {name} {word}", dict(_leaves("", inner))[f" {word}"]


def _parser_of(main: Callable[[], object], argv: list[str]) -> argparse.ArgumentParser:
    """Return the parser that a program builds for a command line, without running the command."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _FoundParserError(parser)

    with (
        patch.object(sys, "argv", argv),
        patch.object(argparse.ArgumentParser, "parse_args", stop),
        patch.object(argparse.ArgumentParser, "parse_intermixed_args", stop),
    ):
        try:
            main()
        except _FoundParserError as found:
            parser: argparse.ArgumentParser = found.args[0]
            return parser
    raise AssertionError(f"{' '.join(argv)}: parsed no arguments")


def _leaves(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the parser itself, or in its place those of its subcommands."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield name, parser
    for action in inner:
        for word, each in action.choices.items():
            yield from _leaves(f"{name} {word}", each)


def _summary(parser: argparse.ArgumentParser) -> str:
    """First sentence of the description."""
    first = " ".join((parser.description or "").split("\n\n", 1)[0].split())
    return _escaped(re.split(r"(?<=[.])\s|: ", first, maxsplit=1)[0].rstrip("."))


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    positionals = [action for action in actions if not action.option_strings]
    options = [action for action in actions if action.option_strings and "--help" not in action.option_strings]
    needed = [f"{each.option_strings[-1]} {_value(each)}" for each in options if each.required]
    words = [name, *needed, *(["[options]"] if len(options) > len(needed) else []), *map(_value, positionals)]
    parts = [f"## {name}", *_prose(parser.description or ""), f"```text\n{' '.join(words)}\n```"]
    rows = [(_value(each), each) for each in positionals]
    rows += [(", ".join(each.option_strings) + f" {_value(each)}".rstrip(), each) for each in options]
    if rows:
        table = "".join(f"| `{shown}` | {_escaped(_help(action, parser))} |\n" for shown, action in rows)
        parts.append(f"| argument | meaning |\n| --- | --- |\n{table}".rstrip("\n"))
    parts += _prose(parser.epilog or "")
    return "\n\n".join(parts) + "\n"


def _value(action: argparse.Action) -> str:
    """Return what a command line shows for the value: metavar or choices, with dots where it repeats."""
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    metavar = action.metavar if isinstance(action.metavar, str) else None
    name = metavar or choices or (action.dest.upper() if action.option_strings else action.dest)
    dots = {"+": f"{name}...", "*": f"[{name}...]", "?": f"[{name}]"}
    return dots.get(str(action.nargs), name)


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    if not action.help:
        raise ExpectationError(f"{parser.prog}: {action.dest} has no help text; add it to the parser")
    values = {**vars(action), "prog": parser.prog}
    text = action.help % values
    needed = "required: " if action.option_strings and action.required else ""
    return needed + " ".join(text.split())


def _prose(text: str) -> Iterator[str]:
    """Yield the paragraphs of a description; indented lines become a block of text."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if re.search(r"^ {2,}\S", paragraph, re.M):
            yield f"```text\n{textwrap.dedent(paragraph)}\n```"
        elif paragraph.strip():
            yield _escaped("\n".join(textwrap.wrap(" ".join(paragraph.split()), 120, break_long_words=False)))


def _escaped(text: str) -> str:
    """Return text whose characters mean nothing to Markdown; code in backticks stays."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(each if each.startswith("`") else re.sub(r"([<*_|\[\]~])", r"\\\1", each) for each in parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        ExpectationError: an argument has no help text, or --check finds another page.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the page is out of date")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page (default: %(default)s)")
    given = parser.parse_args(arguments)
    write_or_check({given.page: page()}, check=given.check, program="docs/generators/command_reference.py")


if __name__ == "__main__":
    run_main(main)
