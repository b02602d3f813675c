"""What all commands share: how one is added, and how values are printed."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import TextIO, TypeAlias

import msgspec

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


def print_json(value: object) -> None:
    """One line on standard output, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(table: str, stream: TextIO) -> None:
    """Print a table of differences, in colour if the stream is a terminal and NO_COLOR (no-color.org) is not set."""
    if stream.isatty() and not os.environ.get("NO_COLOR"):
        table = re.sub(r"^  [!+-] .*$", "\x1b[31m\\g<0>\x1b[0m", table, flags=re.M)
    print(table, file=stream, flush=True)
