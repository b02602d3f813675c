"""`edge demo`: a bundled clip becomes events on a real MQTT connection."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command
from edge.core.errors import InputError
from edge.core.terminal import Terminal


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "demo", _demo, "watch a bundled clip become events on a real MQTT connection")
    command.add_argument(
        "--broker", metavar="URL", help="use this broker, such as mqtt://localhost:1883, not an embedded one"
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where threshold-demo.mp4 and threshold-demo.jpg are written (default: the current folder)",
    )
    command.set_defaults(log_level=logging.WARNING)  # show only the events
    command.add_argument("--json", action="store_true", help="print the events as received, one JSON object per line")


def _demo(arguments: argparse.Namespace) -> int:
    from edge.cli.message_lines import MessageFormatter
    from edge.demo.run_demo import run_demo

    if not arguments.out.is_dir():
        raise InputError(f"{arguments.out}: no such folder")
    print(
        "A bundled clip plays in front of a door. These are its events over MQTT (10 s):\n",
        file=sys.stderr,
    )
    formatter = MessageFormatter(Terminal(sys.stdout))
    for message in run_demo(arguments.broker):
        if arguments.json:
            print(message.payload.decode(), flush=True)
        else:
            print(*formatter.lines(message), sep="\n", flush=True)
    _write_pictures(arguments.out)
    commands = _commands_folder()
    print(
        "\nNext, try it with your own photos (photos/NAME/*.jpg) and a clip:\n"
        f"{commands}threshold enroll photos --out gallery.safetensors\n"
        f"{commands}edge replay clip.mp4 --gallery gallery.safetensors --annotate seen.mp4",
        file=sys.stderr,
    )
    return 0


def _write_pictures(folder: Path) -> None:
    """Write the pictures; a folder that is not writable is reported and does not end the demo."""
    from edge.demo.pictures import write_pictures

    try:
        clip, picture = write_pictures(folder)
    except OSError as error:
        print(f"\n{error.filename or folder}: {error.strerror}; choose another folder with --out", file=sys.stderr)
        return
    print(f"\n{clip}: the clip with what the door saw\n{picture}: the moment the door opened", file=sys.stderr)


def _commands_folder() -> str:
    """Folder of the commands as a prefix, such as ".venv/bin/"; "" where the shell finds them."""
    program = sys.argv[0]
    found = shutil.which(os.path.basename(program))
    if os.sep not in program or (found and os.path.samefile(found, program)):
        return ""
    folder = Path(program).absolute().parent
    return f"{folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder}/"
