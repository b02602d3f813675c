"""`edge lock`: lock the door's own relay, or try its wiring."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from edge.cli.command import Commands, add_command
from edge.core.config import read_config
from edge.core.errors import ConfigError


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "lock", _lock, "lock the door's own relay, or try it; the door must not run")
    command.add_argument("--config", type=Path, required=True, metavar="door.toml", help="the door's configuration")
    command.add_argument("--pulse", action="store_true", help="open once, for [lock] pulse_s, to try the wiring")


def _lock(arguments: argparse.Namespace) -> int:
    lock = read_config(arguments.config).lock
    if lock is None:
        if arguments.pulse:
            raise ConfigError(f"{arguments.config}: there is no table [lock]; docs/wiring.md says how to write one")
        return 0  # the unit calls this after every stop
    from edge.runtime.lock import open_relay

    relay = open_relay(lock)  # and locks it
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
