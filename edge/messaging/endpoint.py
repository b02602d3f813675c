"""Where the broker is and how to log in: the [mqtt] table with its files read and checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from edge.config import MqttConfig
from edge.errors import ConfigError

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address and our login; as text it is the address alone."""

    host: str
    port: int
    username: str
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}"


def read_endpoint(config: MqttConfig) -> Endpoint:
    """Take the broker's address apart, and read the files that the table names.

    Raises:
        ConfigError: the address is no mqtt(s)://host[:port], or a file cannot be used.
    """
    try:
        parts = urlsplit(config.url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"[mqtt] url: '{config.url}' is no address ({error})") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError("[mqtt] url: holds a login; use username and password_file instead")
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.path.strip("/") or parts.query:
        raise ConfigError(f"[mqtt] url: '{config.url}' is not of the form mqtt://host:port or mqtts://host:port")
    if config.password_file and not config.username:
        raise ConfigError("[mqtt] password_file: needs username beside it")
    return Endpoint(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        username=config.username,
        password=_password(config.password_file),
        tls=_tls(config.ca_file) if parts.scheme == "mqtts" else None,
    )


def _password(file: str) -> str | None:
    """The first line of the file; None without a file."""
    if not file:
        return None
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"[mqtt] password_file: {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"[mqtt] password_file: {file} is not UTF-8 text (byte {error.start})") from error
    if not lines or not lines[0]:
        raise ConfigError(f"[mqtt] password_file: the first line of {file} is empty; it must be the password")
    return lines[0]


def _tls(ca_file: str) -> ssl.SSLContext:
    """Certificates are always verified: against `ca_file`, or against the system's authorities."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise ConfigError(f"[mqtt] ca_file: {ca_file} holds no PEM certificate ({error.reason or error})") from error
    except OSError as error:
        raise ConfigError(f"[mqtt] ca_file: {ca_file} cannot be read ({error.strerror})") from error
