"""`edge release`: which signing keys this door trusts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command, add_group
from edge.core.config import read_config


def add(commands: Commands) -> None:
    """Add the command's parser."""
    actions = add_group(commands, "release", "set up signed releases on this door")
    trust_root = add_command(actions, "trust-root", _trust_root, "trust the signing keys in ROOT.json")
    trust_root.add_argument("root", type=Path, metavar="ROOT.json", help="REPO/root.json of threshold sync")
    trust_root.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/threshold/door.toml"),
        metavar="door.toml",
        help="the door's configuration (default: %(default)s)",
    )


def _trust_root(arguments: argparse.Namespace) -> int:
    from edge.runtime.release_manager import install_root

    print(install_root(read_config(arguments.config), arguments.root), file=sys.stderr)
    return 0
