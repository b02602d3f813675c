"""`edge trust`: trust the signing keys that a root metadata file names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command
from edge.core.config import read_config


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "trust", _trust, "trust the signing keys in ROOT.json")
    command.add_argument("root", type=Path, metavar="ROOT.json", help="REPO/root.json of tools/sync.py")
    command.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/threshold/door.toml"),
        metavar="door.toml",
        help="the door's configuration (default: %(default)s)",
    )


def _trust(arguments: argparse.Namespace) -> int:
    from edge.runtime.release_manager import install_root

    print(install_root(read_config(arguments.config), arguments.root), file=sys.stderr)
    return 0
