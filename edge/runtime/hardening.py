"""Protects faces on the board: no core dumps, no readable process memory, no files for other users."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import stat
from pathlib import Path

from edge.core.config import DoorConfig
from edge.core.credentials import PREFIX

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def harden_process() -> None:
    """Make files of this process private, disable core dumps, and hide its memory from other programs of this user.

    Root can still read the memory. The systemd unit sets the same; this protects a door that is started manually.
    """
    os.umask(0o077)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:  # forbidden in the sandbox of the unit, which sets LimitCORE=0
        log.debug("cannot limit core dumps (%s)", error)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.debug("cannot make the process undumpable (errno %d)", ctypes.get_errno())


def world_accessible_paths(config: DoorConfig) -> list[Path]:
    """Files and folders of a door that other users can read or write; the remedy is chmod go=.

    Files in a private state folder are not listed, because other users cannot reach them.
    """
    state, mqtt = Path(config.state_folder), config.mqtt
    keys = [mqtt.password_file, mqtt.key_file, mqtt.signing_key, config.gallery_key]
    paths = [state, *(Path(key) for key in keys if key and not key.startswith(PREFIX))]
    for path in [Path(config.gallery), *sorted(state.glob("outbox.sqlite*")), state / "release"]:
        if _open_to_others(state) or state.resolve() not in path.resolve().parents:
            paths.append(path)
    return [path for path in paths if _open_to_others(path)]


def unencrypted_snapshots(config: DoorConfig) -> str:
    """Warning that pictures of faces are sent unencrypted, one line; "" if they are not."""
    if not config.snapshots.kinds or not config.mqtt.insecure:
        return ""
    return f"[snapshots] sends pictures of faces unencrypted to {config.mqtt.url}"


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:  # missing or of another user: reported elsewhere
        return False
