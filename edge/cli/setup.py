"""`edge setup`: writes door.toml interactively."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command
from edge.core.errors import InputError

_SERVICE = "threshold"  # user and group of systemd/threshold.sysusers
_ETC = Path("/etc")
_SERVICE_STATE = Path("/var/lib/threshold")
_OPTIONS = (
    ("--site", "site", "NAME", "name shared by all doors of a building"),
    ("--door", "door", "NAME", "name of this door"),
    ("--camera", "camera.source", "SOURCE", "picamera2, /dev/video0, rtsp://… or http://…"),
    ("--state", "state_folder", "FOLDER", "folder for events and releases"),
    ("--gallery", "gallery", "FILE", "gallery with the enrolled people"),
    ("--broker", "mqtt.url", "URL", "mqtt://… or mqtts://…"),
    ("--username", "mqtt.username", "NAME", "user name at the broker"),
    ("--password-file", "mqtt.password_file", "FILE", "its first line is the password"),
    ("--ca-file", "mqtt.ca_file", "FILE", "authority that signed the broker's certificate"),
    ("--lock-pin", "lock.pin", "PIN", "GPIO (BCM) number of the relay of the lock, or none"),
    ("--liveness", "liveness.mode", "MODE", "off, passive or challenge"),
)
_KEYS = {"mqtt.insecure", *(key for _, key, *_ in _OPTIONS)}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "setup", _setup, "create door.toml interactively; options skip their question")
    command.add_argument(
        "--out", type=Path, default=Path("door.toml"), metavar="FILE", help="file to write (default: %(default)s)"
    )
    command.add_argument("--yes", action="store_true", help="ask nothing; use the default for every missing option")
    for option, key, metavar, meaning in _OPTIONS:
        command.add_argument(option, dest=key, metavar=metavar, help=meaning)
    command.add_argument(
        "--insecure",
        dest="mqtt.insecure",
        action="store_const",
        const="",
        help="allow unencrypted mqtt:// to another host",
    )


def _setup(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    alone: bool = arguments.yes
    if not alone and not sys.stdin.isatty():
        raise InputError("edge setup asks questions, but standard input is not a terminal; use --yes and options")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"{out.parent}: missing, or not writable for this user; use sudo, or another --out")
    if out.exists() and alone:
        raise InputError(f"{out}: exists already, and --yes replaces no file; remove it, or use another --out")
    # Imported after these checks because it takes a while.
    from edge.diagnostics.setup_wizard import Prompter, run_wizard, to_toml

    given = {key: value for key, value in vars(arguments).items() if value is not None and key in _KEYS}
    prompter = Prompter(given, alone)
    if not alone:
        prompter.print("Press Enter for the default in brackets; Ctrl-C cancels.\n")
    if out.exists() and not prompter.confirm(f"{out} exists already. Replace it at the end?"):
        raise InputError(f"{out}: not changed")
    config = run_wizard(prompter, _state_folder(out))
    state = Path(config.state_folder)
    _write(out, to_toml(config))
    _make_state(state)
    edge = sys.argv[0] if Path(sys.argv[0]).name == "edge" else "edge"
    prompter.print(
        f"\n{out}: written for door {config.site}/{config.door}\n\n"
        f"Next, on a desktop:\n  threshold enroll PHOTOS --out gallery.safetensors\n\n"
        f"Copy gallery.safetensors to {config.gallery}.\nThen, on this machine:\n"
        f"  {edge} check --config {out}\n  {edge} run --config {out}"
    )
    return 0


def _state_folder(out: Path) -> Path:
    """Folder of the service for a file below /etc, else a folder next to the file."""
    folder = out.absolute().parent
    return _SERVICE_STATE if _ETC in folder.parents else folder / "door-state"


def _write(out: Path, text: str) -> None:
    """Write a private file; if root writes it and the service is installed, the group of the service can read it."""
    from edge.core.files import atomic_write

    atomic_write(out, text.encode(), private=True)
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError):  # no such group: the service is not installed
            shutil.chown(out, group=_SERVICE)
            out.chmod(0o640)


def _make_state(state: Path) -> None:
    if state.is_dir():
        return
    state.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError):
            shutil.chown(state, _SERVICE, _SERVICE)
