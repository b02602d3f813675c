"""Shared by the commands of `edge`: adding parsers and options, and printing values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, TypeAlias

import msgspec

from edge.core.cli_support import DEFAULT_CONFIGS
from edge.core.terminal import Style, Terminal

_DIFFERENCE = re.compile(r"  [!+-] ")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], purpose: str
) -> argparse.ArgumentParser:
    """Add a command that runs `function`, which returns the exit code."""
    command = commands.add_parser(name, help=purpose, description=purpose[:1].upper() + purpose[1:] + ".")
    command.set_defaults(command=function)
    return command


def add_group(commands: Commands, name: str, purpose: str) -> Commands:
    """Add a command that consists of actions, such as `edge gallery encrypt`."""
    group = commands.add_parser(name, help=purpose, description=purpose[:1].upper() + purpose[1:] + ".")
    return group.add_subparsers(required=True, metavar="ACTION")


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Add --config; `edge.core.cli_support.find_config` has the default."""
    listed = ", then ".join(map(str, DEFAULT_CONFIGS))
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration of the door (default: {listed})")


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(table: str, stream: TextIO) -> None:
    """Print a table of differences; on a terminal the different lines are coloured."""
    terminal = Terminal(stream)
    for line in table.splitlines():
        terminal.print(terminal.styled(line, Style.ERROR if _DIFFERENCE.match(line) else Style.PLAIN))
