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
    """Address of a broker and login; `str` returns only the address.

    Attributes:
        tls: verification of the broker, with the client certificate if there is one; None for unencrypted MQTT.
        certified: whether there is a client certificate.
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
    """Parse the address of the broker, and read the files that the table names.

    Raises:
        ConfigError: the address is not mqtt(s)://host[:port], a file cannot be used, or the connection to another host
            is unencrypted without `insecure`.
    """
    try:
        parts = urlsplit(config.url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"[mqtt] url: {_shown(config.url)} is not of the form {_FORM}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError("[mqtt] url: contains a login; use username and password_file instead")
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.path.strip("/") or parts.query:
        raise ConfigError(f"[mqtt] url: {_shown(config.url)} is not of the form {_FORM}")
    if config.password_file and not config.username:
        raise ConfigError("[mqtt] password_file: is set without username; set both")
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
    """A malformed address in quotes; "it" if it may contain a password: more than scheme, host and port."""
    return f"'{url}'" if _PUBLIC.fullmatch(url) else "it"


def _check_encryption(config: MqttConfig, host: str, encrypted: bool) -> None:
    """Allow unencrypted connections to another host only with `insecure`.

    Raises:
        ConfigError: the connection is unencrypted, or the table has contradictory keys.
    """
    if encrypted and config.insecure:
        raise ConfigError(
            "[mqtt] insecure: is only for unencrypted mqtt:// to another host; the certificate of an mqtts:// broker "
            "is always verified. Remove insecure, and set ca_file for a private authority"
        )
    if not encrypted and (config.cert_file or config.key_file or config.ca_file):
        raise ConfigError("[mqtt] url: certificates are for mqtts://; plain mqtt:// does not use ca_file or cert_file")
    if not encrypted and not config.insecure and not _is_local(host):
        raise ConfigError(
            f"[mqtt] url: {config.url} is not encrypted, so anyone on the network can read messages and open the door; "
            f"use mqtts://{host} (systemd/mosquitto/ shows how). In a trusted network set insecure = true (on a "
            "command line: --insecure)"
        )


def _is_local(host: str) -> bool:
    """Whether a host name is this machine, without a DNS lookup."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(config: MqttConfig) -> ssl.SSLContext:
    """TLS context that verifies certificate and name of the broker, by `ca_file` or the authorities of the system."""
    authority = secret_file(config.ca_file, "[mqtt] ca_file") if config.ca_file else None
    try:
        context = ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise ConfigError(
            f"[mqtt] ca_file: {config.ca_file} contains no PEM certificate ({error.reason or error})"
        ) from error
    if bool(config.cert_file) != bool(config.key_file):
        raise ConfigError("[mqtt] cert_file, key_file: only one is set; set both, the certificate and its private key")
    if config.cert_file:
        certificate = secret_file(config.cert_file, "[mqtt] cert_file")
        key = secret_file(config.key_file, "[mqtt] key_file")
        try:
            context.load_cert_chain(certificate, key, password="")  # otherwise OpenSSL asks on the terminal
        except ssl.SSLError as error:
            raise ConfigError(
                f"[mqtt] cert_file, key_file: {config.cert_file} and {config.key_file} are not a PEM certificate and "
                f"its own PEM key without a password ({error.reason or error})"
            ) from error
    return context
