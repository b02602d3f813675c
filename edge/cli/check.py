"""`edge check`: what stands between this door and its first event."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command, print_json


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "check", _check, "find what stands between this door and its first event")
    command.add_argument("--config", type=Path, required=True, metavar="door.toml", help="the door's configuration")
    command.add_argument("--json", action="store_true", help="a JSON array")


def _check(arguments: argparse.Namespace) -> int:
    from edge.diagnostics.check import check
    from edge.diagnostics.report import State, row, summary

    findings = []
    for finding in check(arguments.config):
        findings.append(finding)
        if not arguments.json:
            print(row(finding, sys.stdout), flush=True)
    if arguments.json:
        print_json(findings)
    else:
        print(f"\n{summary(findings)}")
    return 1 if any(finding.state is State.FAIL for finding in findings) else 0
