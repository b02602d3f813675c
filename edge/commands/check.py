"""`edge check`: what stands between this door and its first event."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.command import Commands, new_command, print_json


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = new_command(commands, "check", _check, "find what stands between this door and its first event")
    command.add_argument("--config", type=Path, required=True, metavar="door.toml", help="the door's configuration")
    command.add_argument("--json", action="store_true", help="a JSON array")


def _check(arguments: argparse.Namespace) -> int:
    from edge.check import check

    findings = check(arguments.config)
    if arguments.json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:10}  {finding.detail}")
            if not finding.ok:
                print(f"{'':18}{finding.remedy}")
    return 0 if all(finding.ok for finding in findings) else 1
