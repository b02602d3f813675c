"""`edge lock`, `edge release` and `edge gallery`: single steps of installation and maintenance."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from edge.cli.command import Commands, add_command, add_config_option, add_group
from edge.core.cli_support import find_config, find_default_config
from edge.core.config import read_config
from edge.core.errors import ConfigError, InputError


def add(commands: Commands) -> None:
    """Add the parsers of the three commands."""
    lock = add_command(commands, "lock", _lock, "lock the relay of this door, or test it; stop the door first")
    add_config_option(lock)
    lock.add_argument("--pulse", action="store_true", help="open once for [lock] pulse_s to test the wiring")
    release = add_group(commands, "release", "set up signed releases on this door")
    trust_root = add_command(release, "trust-root", _trust_root, "trust the signing keys in ROOT.json")
    trust_root.add_argument(
        "root", type=Path, metavar="ROOT.json", help="root.json of the repository of threshold sync"
    )
    add_config_option(trust_root)
    gallery = add_group(commands, "gallery", "encrypt or decrypt the galleries of this door")
    for name, purpose, decrypt in (
        ("encrypt", "encrypt the galleries of this door", False),
        ("decrypt", "decrypt the galleries of this door, for example to change the key", True),
    ):
        action = add_command(gallery, name, _reencrypt, purpose)
        action.set_defaults(decrypt=decrypt)
        action.add_argument(
            "gallery", type=Path, nargs="*", metavar="GALLERY", help="gallery files (default: all of the door)"
        )
        add_config_option(action)
        action.add_argument(
            "--key",
            default="",
            metavar="FILE",
            help="file with 64 hexadecimal digits (default: gallery_key of the door)",
        )


def _lock(arguments: argparse.Namespace) -> int:
    path = find_config(arguments.config)
    lock = read_config(path).lock
    if lock is None:
        if arguments.pulse:
            raise ConfigError(f"{path}: no table [lock]; write one as docs/guides/lock-wiring.md shows")
        return 0  # the unit calls this after every stop
    from edge.runtime.door_lock import open_relay

    relay = open_relay(lock)  # locks it, too
    try:
        if arguments.pulse:
            print(f"pin {lock.pin}: opening", flush=True)
            relay.on()
            time.sleep(lock.pulse_s)
            print(f"pin {lock.pin}: open for {lock.pulse_s:g} s, ", end="")
    finally:
        relay.off()
        relay.close()
        if arguments.pulse:
            print("locked again")
            sys.stdout.flush()
    return 0


def _trust_root(arguments: argparse.Namespace) -> int:
    from edge.runtime.release_manager import install_root

    print(install_root(read_config(find_config(arguments.config)), arguments.root), file=sys.stderr)
    return 0


def _reencrypt(arguments: argparse.Namespace) -> int:
    from edge.recognition.encryption import read_key, reencrypt
    from edge.runtime.release_manager import all_gallery_files

    complete = arguments.key and arguments.gallery
    path = arguments.config or (None if complete else find_default_config())
    config = read_config(path) if path else None
    key = read_key(arguments.key, "--key") or (read_key(config.gallery_key) if config else None)
    if key is None:
        raise InputError(
            "no key: add --key FILE, or set gallery_key in door.toml; make a key with  openssl rand -hex 32"
        )
    paths = arguments.gallery or (all_gallery_files(config) if config else [])
    if not paths:
        raise InputError("no gallery: name one, or add --config FILE")
    changed = reencrypt(paths, key, undo=arguments.decrypt)
    state = "decrypted" if arguments.decrypt else "encrypted"
    for path in paths:
        print(f"{path}: {state if path in changed else f'already {state}'}", file=sys.stderr)
    return 0
