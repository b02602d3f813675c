"""What all commands share: how one is added, and how a value is printed for machines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

import msgspec

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def new_command(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], purpose: str
) -> argparse.ArgumentParser:
    """Add a command that runs `function`, which returns the exit code."""
    command = commands.add_parser(name, help=purpose, description=purpose[:1].upper() + purpose[1:] + ".")
    command.set_defaults(command=function)
    return command


def print_json(value: object) -> None:
    """One line on standard output, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)
