"""Secret files of the service: given by path, or passed by systemd as credentials."""

from __future__ import annotations

import os
from pathlib import Path

from edge.core.errors import ConfigError

PREFIX = "credential:"
FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"


def secret_file(named: str, setting: str) -> Path:
    """Path of the file in a setting; `credential:NAME` is a file that LoadCredential=NAME:… of the unit passes.

    Args:
        named: value of the setting.
        setting: its name for errors, such as "[mqtt] password_file".

    Raises:
        ConfigError: there is no such credential, or the file cannot be read.
    """
    path = _credential(named.removeprefix(PREFIX), setting) if named.startswith(PREFIX) else Path(named)
    try:
        path.open("rb").close()
    except OSError as error:
        remedy = f"; does the unit have LoadCredential={path.name}:…?" if named.startswith(PREFIX) else ""
        raise ConfigError(f"{setting}: {named} cannot be read ({error.strerror}){remedy}") from error
    return path


def secret_line(named: str, setting: str) -> str:
    """The first line of a secret file, such as a password or a user name; arguments as of `secret_file`.

    Raises:
        ConfigError: it cannot be read, or the line is empty.
    """
    path = secret_file(named, setting)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{setting}: {named} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{setting}: {named} is not UTF-8 text (byte {error.start})") from error
    if not lines or not lines[0]:
        raise ConfigError(f"{setting}: the first line of {named} is empty; write the secret there")
    return lines[0]


def _credential(name: str, setting: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if not name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{setting}: '{PREFIX}{name}' is not a credential; write a plain name after the colon")
    if not folder:
        raise ConfigError(
            f"{setting}: no credentials were passed for {PREFIX}{name} ({FOLDER_VARIABLE} is not set); "
            f"add LoadCredential={name}:/path/of/the/file to the unit, or use systemd-run with this property"
        )
    return Path(folder) / name
