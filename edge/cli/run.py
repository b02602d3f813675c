"""`edge run`: runs the door until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from edge.cli.command import Commands, add_command, add_config_option
from edge.core.cli_support import find_config
from edge.core.config import read_config
from edge.runtime.journal import set_door_fields

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "run", _run, "run the door until it is stopped (the service runs this)")
    add_config_option(command)


def _run(arguments: argparse.Namespace) -> int:
    from edge.runtime.hardening import harden_process, unencrypted_snapshots, world_accessible_paths

    harden_process()
    config = read_config(find_config(arguments.config))
    set_door_fields(config.site, config.door)
    if found := world_accessible_paths(config):
        paths = " ".join(map(str, found))
        log.warning("other users can read or write %s: run  chmod go= %s", paths, paths)
    if clear := unencrypted_snapshots(config):
        log.warning("%s", clear)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from edge.vision.camera import CameraOpener

    with CameraOpener(config.camera, realtime=True) as opening:  # the camera opens while modules and models are loaded
        from edge.runtime.daemon import Daemon

        Daemon(config, opening).run(stop)
    return 0
