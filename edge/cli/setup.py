"""`edge setup`: a guided first run that writes door.toml."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path

from edge.cli.command import Commands, add_command
from edge.core.errors import InputError

_SERVICE = "threshold"  # the user of systemd/threshold.sysusers, and its group
_ETC = Path("/etc")
_SERVICE_STATE = Path("/var/lib/threshold")
_OPTIONS = (
    ("--site", "site", "NAME", "the name that the doors of a building share"),
    ("--door", "door", "NAME", "this door's name"),
    ("--camera", "camera.source", "SOURCE", "picamera2, /dev/videoN, rtsp://…, http://…"),
    ("--state", "state_folder", "DIR", "folder for events and people"),
    ("--gallery", "gallery", "GALLERY", "who is known"),
    ("--broker", "mqtt.url", "URL", "mqtt://… or mqtts://…"),
    ("--username", "mqtt.username", "NAME", "for the broker"),
    ("--password-file", "mqtt.password_file", "FILE", "whose first line is the password"),
    ("--ca-file", "mqtt.ca_file", "FILE", "of the authority that signed the broker's certificate"),
    ("--lock-pin", "lock.pin", "N", "GPIO (BCM) number of a relay that opens the lock; none: no relay"),
    ("--liveness", "liveness.mode", "MODE", "off, passive or challenge"),
)
_KEYS = {"mqtt.insecure", *(key for _, key, *_ in _OPTIONS)}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "setup", _setup, "create door.toml interactively; options skip their question")
    command.add_argument(
        "--out", type=Path, default=Path("door.toml"), metavar="door.toml", help="file to write (default: %(default)s)"
    )
    command.add_argument("--yes", action="store_true", help="ask nothing; use defaults for what no option sets")
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
        raise InputError("edge setup asks questions, and standard input is no terminal; answer by options, and --yes")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"{out.parent}: no folder that this user may write; name another --out, or use sudo")
    if out.exists() and alone:
        raise InputError(f"{out}: is there already, and --yes replaces nothing; remove it, or name another --out")
    # They take a while to import, and all that can be wrong before is said.
    from edge.diagnostics.setup_wizard import Prompter, run_wizard, to_toml

    given = {key: value for key, value in vars(arguments).items() if value is not None and key in _KEYS}
    prompter = Prompter(given, alone)
    if not alone:
        prompter.print("Press Enter for the default in brackets; Ctrl-C cancels.\n")
    if out.exists() and not prompter.confirm(f"{out} is there already. Replace it at the end?"):
        raise InputError(f"{out}: left as it was")
    config = run_wizard(prompter, _state_folder(out))
    state = Path(config.state_folder)
    _write(out, to_toml(config))
    _make_state(state)
    edge = sys.argv[0] if Path(sys.argv[0]).name == "edge" else "edge"
    prompter.print(
        f"\n{out}: written, door {config.site}/{config.door}. Next:\n"
        f"  {edge} check --config {out}\n"
        f"  threshold enroll PHOTOS --out {config.gallery}    # on a desktop; then bring it here\n"
        f"  {edge} run --config {out}"
    )
    return 0


def _state_folder(out: Path) -> Path:
    """The service's folder for the service's file, else one beside the file."""
    folder = out.absolute().parent
    return _SERVICE_STATE if _ETC in folder.parents else folder / "door-state"


def _write(out: Path, text: str) -> None:
    """For its owner alone; if root writes it and the service is set up, its group may read it as well."""
    from edge.core.files import atomic_write

    atomic_write(out, text.encode(), private=True)
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError):  # there is no such group: no service was installed
            shutil.chown(out, group=_SERVICE)
            out.chmod(0o640)


def _make_state(state: Path) -> None:
    if state.is_dir():
        return
    state.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError):
            shutil.chown(state, _SERVICE, _SERVICE)
