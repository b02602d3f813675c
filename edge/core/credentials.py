"""Secret files of the service: named by path, or passed by systemd as credentials."""

from __future__ import annotations

import os
from pathlib import Path

from edge.core.errors import ConfigError

PREFIX = "credential:"
FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"


def secret_file(named: str, setting: str) -> Path:
    """The file that a setting names; `credential:NAME` is passed by LoadCredential=NAME:… in the unit.

    Errors name the setting, such as "[mqtt] password_file".

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
    """The first line of a secret file: a password or a user name.

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
        raise ConfigError(f"{setting}: the first line of {named} is empty; put the secret there")
    return lines[0]


def _credential(name: str, setting: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if not name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{setting}: '{PREFIX}{name}' names no credential; a plain name must follow the colon")
    if not folder:
        raise ConfigError(
            f"{setting}: no credentials were passed for {PREFIX}{name} ({FOLDER_VARIABLE} is not set); "
            f"put LoadCredential={name}:/path/of/the/file into the unit, or start it by systemd-run with the same"
        )
    return Path(folder) / name
