"""`edge replay`: a recorded clip through the very loop of the daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.commands.command import Commands, new_command, print_json
from edge.config import DoorConfig, read_config
from edge.program import moment_ns


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = new_command(commands, "replay", _replay, "run a recorded clip through the very loop of the daemon")
    command.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of stills in order of name")
    command.add_argument("--gallery", type=Path, required=True, metavar="G", help="gallery made by tools/enroll.py")
    command.add_argument("--config", type=Path, metavar="C", help="door.toml to stand in for (default: all defaults)")
    command.add_argument("--json", action="store_true", help="one JSON object per decision and line")
    command.add_argument("--annotate", type=Path, metavar="OUT.mp4", help="write the clip with what the door saw")
    command.add_argument(
        "--at",
        type=moment_ns,
        metavar="TIME",
        help="when the clip begins, for rules with times, such as 2026-03-29T01:30+01:00 (default: clock not set)",
    )
    command.add_argument(
        "--expect",
        type=Path,
        metavar="EVENTS.jsonl",
        help="compare kind, person and time with these lines; 1 if they differ",
    )


def _replay(arguments: argparse.Namespace) -> int:
    from edge.replay import compare, read_expected, replay

    config = read_config(arguments.config) if arguments.config else DoorConfig(site="replay", door="replay")
    expected = read_expected(arguments.expect) if arguments.expect else None
    found = []
    for line in replay(config, arguments.clip, arguments.gallery, arguments.annotate, arguments.at):
        found.append(line)
        if arguments.json:
            print_json(line)
        else:
            who = line.person.id if line.person else "-"
            print(
                f"{line.t:8.2f} s  {line.kind:9}  {who:24}  distance {line.distance_sq:.2f}, threshold "
                f"{line.threshold_sq:.2f} (lower is nearer, stricter), {line.samples} samples: {line.reason}",
                flush=True,
            )
    if expected is not None:
        compare(expected, found)
        print(f"{arguments.expect}: all {len(expected)} events as expected", file=sys.stderr)
    return 0
