"""`edge verify`: every clip of a folder, held to what it should give."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command, print_table
from edge.core.config import read_config
from edge.core.counted import counted
from edge.core.errors import ExpectationError
from edge.core.files import require_parent_dir


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(
        commands, "verify", _verify, "replay a folder of clips against their expected events; 1 if any differs"
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="clips, with NAME.expected.jsonl beside each")
    command.add_argument("--gallery", type=Path, metavar="GALLERY", help="(default: gallery.safetensors in the folder)")
    command.add_argument(
        "--config", type=Path, metavar="door.toml", help="(default: door.toml in the folder, or all defaults)"
    )
    command.add_argument("--junit", type=Path, metavar="OUT.xml", help="write a JUnit report for CI")


def _verify(arguments: argparse.Namespace) -> int:
    from edge.replay.suite import clips_without_expectation, run_suite, write_junit

    if arguments.junit:
        require_parent_dir(arguments.junit)
    config = read_config(arguments.config) if arguments.config else None
    results = []
    for result in run_suite(arguments.folder, config, arguments.gallery):
        results.append(result)
        state = "ok   " if result.ok else "ERROR" if result.error else "DIFF "
        events = counted(result.events, "event")
        print(f"{state}  {result.name:30}  {events:>9}  {result.took_s:6.1f} s  {result.error}".rstrip())
        if result.difference:
            print(print_table(result.difference, sys.stdout), flush=True)
    for name in clips_without_expectation(arguments.folder):
        print(f"{name}: skipped, no {Path(name).stem}.expected.jsonl", file=sys.stderr)
    if arguments.junit:
        write_junit(arguments.junit, results)
    wrong = [result.name for result in results if not result.ok]
    if wrong:
        raise ExpectationError(f"{len(wrong)} of {len(results)} clips differ from what is expected: {', '.join(wrong)}")
    return 0
