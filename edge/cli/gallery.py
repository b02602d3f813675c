"""`edge gallery`: encrypt the galleries on this disk, or decrypt them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command, add_group
from edge.core.config import read_config
from edge.core.errors import InputError


def add(commands: Commands) -> None:
    """Add the command's parser."""
    actions = add_group(commands, "gallery", "encrypt galleries on this disk, or decrypt them")
    for name, purpose, decrypt in (
        ("encrypt", "encrypt galleries on this disk", False),
        ("decrypt", "decrypt galleries on this disk, for instance to change the key", True),
    ):
        action = add_command(actions, name, _change, purpose)
        action.set_defaults(decrypt=decrypt)
        action.add_argument("gallery", type=Path, nargs="*", metavar="GALLERY", help="(default: all of the door's)")
        action.add_argument("--config", type=Path, metavar="door.toml", help="the door's configuration")
        action.add_argument("--key", default="", metavar="FILE", help="64 hexadecimal digits (default: gallery_key)")


def _change(arguments: argparse.Namespace) -> int:
    from edge.recognition.encryption import read_key, reencrypt
    from edge.runtime.release_manager import all_gallery_files

    config = read_config(arguments.config) if arguments.config else None
    key = read_key(arguments.key, "--key") or (read_key(config.gallery_key) if config else None)
    if key is None:
        raise InputError(
            "no key: give --key FILE, or set gallery_key in door.toml; make one with  openssl rand -hex 32"
        )
    paths = arguments.gallery or (all_gallery_files(config) if config else [])
    if not paths:
        raise InputError("no gallery: name one, or give --config door.toml")
    changed = reencrypt(paths, key, undo=arguments.decrypt)
    state = "decrypted" if arguments.decrypt else "encrypted"
    for path in paths:
        print(f"{path}: {state if path in changed else f'already {state}'}", file=sys.stderr)
    return 0
