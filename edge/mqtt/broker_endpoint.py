"""Address of the broker and login: the [mqtt] table with its files read and checked."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge.core.config import MqttConfig
from edge.core.credentials import PREFIX, secret_file, secret_line
from edge.core.errors import ConfigError

PORTS = {"mqtt": 1883, "mqtts": 8883}
_FORM = "mqtt://host:port or mqtts://host:port"
_PUBLIC = re.compile(r"[a-z]*:?/{0,2}[a-z0-9.-]*(:[0-9]{0,6})?/?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address and our login; `str` gives the address alone.

    Attributes:
        tls: how to verify the broker's certificate, and our own certificate if we have one; None for plain MQTT.
        certified: whether we have a certificate.
    """

    host: str
    port: int
    username: str
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    certified: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}"


def resolve_endpoint(config: MqttConfig) -> Endpoint:
    """Parse the broker's address, and read the files that the table names.

    Raises:
        ConfigError: the address is no mqtt(s)://host[:port], a file cannot be used, or the connection to another host
            is unencrypted without `insecure`.
    """
    try:
        parts = urlsplit(config.url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"[mqtt] url: {_shown(config.url)} is not of the form {_FORM}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError("[mqtt] url: holds a login; use username and password_file instead")
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.path.strip("/") or parts.query:
        raise ConfigError(f"[mqtt] url: {_shown(config.url)} is not of the form {_FORM}")
    if config.password_file and not config.username:
        raise ConfigError("[mqtt] password_file: needs username beside it")
    encrypted = parts.scheme == "mqtts"
    _check_encryption(config, parts.hostname, encrypted)
    username = config.username
    return Endpoint(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        username=secret_line(username, "[mqtt] username") if username.startswith(PREFIX) else username,
        password=secret_line(config.password_file, "[mqtt] password_file") if config.password_file else None,
        tls=_tls(config) if encrypted else None,
        certified=bool(config.cert_file),
    )


def _shown(url: str) -> str:
    """A malformed address in quotes; "it" if it has more than scheme, host and port, and so may hold a password."""
    return f"'{url}'" if _PUBLIC.fullmatch(url) else "it"


def _check_encryption(config: MqttConfig, host: str, encrypted: bool) -> None:
    """Allow unencrypted connections to another host only with `insecure`.

    Raises:
        ConfigError: the connection is unencrypted, or the table contradicts itself.
    """
    if encrypted and config.insecure:
        raise ConfigError(
            "[mqtt] insecure: only means plain mqtt:// to another host; the certificate of an mqtts:// broker is "
            "always checked, so take it out, and name a private authority in ca_file"
        )
    if not encrypted and (config.cert_file or config.key_file or config.ca_file):
        raise ConfigError("[mqtt] url: certificates are for mqtts://; plain mqtt:// does not use ca_file or cert_file")
    if not encrypted and not config.insecure and not _is_local(host):
        raise ConfigError(
            f"[mqtt] url: {config.url} is not encrypted, and whoever is on the network could read it, or open the "
            f"door; use mqtts://{host} (systemd/mosquitto/ shows how), or, where everybody on the network may do "
            "that, set insecure = true beside it (on a command line: --insecure)"
        )


def _is_local(host: str) -> bool:
    """Whether a host name means this machine; without a DNS lookup."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(config: MqttConfig) -> ssl.SSLContext:
    """Always verify the broker's certificate and name: against `ca_file`, or the system's authorities."""
    authority = secret_file(config.ca_file, "[mqtt] ca_file") if config.ca_file else None
    try:
        context = ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise ConfigError(
            f"[mqtt] ca_file: {config.ca_file} holds no PEM certificate ({error.reason or error})"
        ) from error
    if bool(config.cert_file) != bool(config.key_file):
        raise ConfigError("[mqtt] cert_file and key_file go together: the certificate, and its private key")
    if config.cert_file:
        certificate = secret_file(config.cert_file, "[mqtt] cert_file")
        key = secret_file(config.key_file, "[mqtt] key_file")
        try:
            context.load_cert_chain(certificate, key, password="")  # or OpenSSL would ask the terminal for one
        except ssl.SSLError as error:
            raise ConfigError(
                f"[mqtt] cert_file, key_file: {config.cert_file} and {config.key_file} are not a PEM certificate and "
                f"its own PEM key without a password ({error.reason or error})"
            ) from error
    return context
