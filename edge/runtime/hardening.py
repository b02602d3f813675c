"""What keeps faces where they belong: a process that leaves no core, files for the service alone, sealed galleries."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.core.config import DoorConfig
from edge.core.credentials import PREFIX
from edge.core.errors import GalleryError, InputError
from edge.core.files import atomic_write, overwrite
from edge.recognition.encryption import GalleryKey, decrypt_if_needed, encrypt, is_encrypted
from edge.updates.store import ReleaseStore

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def harden_process() -> None:
    """From now on this process writes files for its user alone, leaves no core, and no other program reads its memory.

    Only root still could. The unit says the same; this is for a door that is started by hand.
    """
    os.umask(0o077)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:  # forbidden in a sandbox, which has said LimitCORE=0 itself
        log.debug("the limit of core dumps stays as it is (%s)", error)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.debug("this system does not let a process refuse to be dumped (errno %d)", ctypes.get_errno())


def world_accessible_paths(config: DoorConfig) -> list[Path]:
    """Files and folders of a door that others than its user may read or write; the shortest way to mend is chmod go=.

    What lies in a state folder that is closed is out of everybody's reach, whatever its own mode.
    """
    return [path for path in _private(config) if _open_to_others(path)]


def unencrypted_galleries(config: DoorConfig) -> str:
    """What is wrong with the way that pictures of faces take to the broker, one line; "" if nothing is, or none go."""
    if not config.snapshots.kinds or not config.mqtt.insecure:
        return ""
    return f"FACES IN THE CLEAR: [snapshots] sends pictures of visitors unencrypted to {config.mqtt.url}"


def reencrypt(paths: list[Path], key: GalleryKey, *, undo: bool = False) -> list[Path]:
    """Seal galleries in place, or open them again; returns those that changed.

    The content that is replaced is overwritten, as far as the file system does that in its place. The owner stays.

    Raises:
        GalleryError: one cannot be read, was sealed with another key, or is too large.
    """
    return [path for path in paths if _change(path, key, undo)]


def all_gallery_files(config: DoorConfig) -> list[Path]:
    """Every gallery on this door's disk: the one that door.toml names and those of releases.

    Raises:
        InputError: there is none.
    """
    named = Path(config.gallery)
    found = [*([named] if named.exists() else []), *ReleaseStore(Path(config.state_folder)).galleries()]
    if not found:
        raise InputError(f"{named}: no gallery is there, nor in a release under {config.state_folder}")
    return found


def _private(config: DoorConfig) -> Iterator[Path]:
    state = Path(config.state_folder)
    mqtt = config.mqtt
    keys = [mqtt.password_file, mqtt.key_file, mqtt.signing_key, config.gallery_key]
    yield state
    yield from (Path(key) for key in keys if key and not key.startswith(PREFIX))
    for path in [Path(config.gallery), *sorted(state.glob("outbox.sqlite*")), state / "release"]:
        if not _open_to_others(state) and state.resolve() in path.resolve().parents:
            continue
        yield path


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:  # not there, or not ours: something else says so
        return False


def _change(path: Path, key: GalleryKey, undo: bool) -> bool:
    try:
        content = path.read_bytes()
        owner = path.stat()
    except OSError as error:
        raise GalleryError(f"{path}: cannot be read ({error.strerror})") from error
    if is_encrypted(content) is not undo:
        return False
    wanted = decrypt_if_needed(content, key, path) if undo else encrypt(content, key, path)
    with path.open("r+b") as old:
        atomic_write(path, wanted, private=True)
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        overwrite(old)
    return True
