"""`edge demo`: a bundled clip becomes events on a real MQTT connection."""

from __future__ import annotations

import argparse
import logging
import sys

from edge.cli.command import Commands, add_command
from edge.core.terminal import Terminal


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "demo", _demo, "watch a bundled clip become events on a real MQTT connection")
    command.add_argument(
        "--broker", metavar="URL", help="use this broker, such as mqtt://localhost:1883, not an embedded one"
    )
    command.add_argument("--json", action="store_true", help="print the events as received, one JSON object per line")


def _demo(arguments: argparse.Namespace) -> int:
    from edge.cli.message_lines import MessageFormatter
    from edge.demo.run_demo import run_demo

    if not arguments.verbose:
        logging.getLogger().setLevel(logging.WARNING)  # only the events are of interest
    print(
        "A bundled clip plays before a door; these are its events as an MQTT subscriber receives them.", file=sys.stderr
    )
    formatter = MessageFormatter(Terminal(sys.stdout))
    for message in run_demo(arguments.broker):
        if arguments.json:
            print(message.payload.decode(), flush=True)
        else:
            print(*formatter.lines(message), sep="\n", flush=True)
    return 0
