"""Checks of the network: the broker, the expiry of certificates, and the metrics port."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from edge.core.cli_support import counted
from edge.core.config import DoorConfig, MetricsConfig, MqttConfig
from edge.core.credentials import secret_file
from edge.core.errors import BrokerError, ConfigError
from edge.diagnostics.report import CheckResult, fail, ok, run_check, warn
from edge.mqtt.broker_endpoint import Endpoint, resolve_endpoint
from edge.mqtt.connection import connect
from edge.runtime.prometheus_server import Exporter

_TIMEOUT_S = 5.0
_SOON_DAYS = 30
_RENEW = "issue a new certificate; systemd/mosquitto/keys.sh does it for a private authority"


def check_broker(config: MqttConfig) -> CheckResult:
    """Connect to the broker as the door does.

    Raises:
        ConfigError, BrokerError: the broker cannot be reached, or it rejects the login.
    """
    connection, _ = connect(config, client_id=f"threshold-check-{os.getpid()}")
    connection.close()
    if config.insecure:
        remedy = "use mqtts://; systemd/mosquitto/ has a configuration"
        return warn("broker", f"{config.url}: unencrypted; anybody on the network can open the door", remedy)
    return ok("broker", f"{config.url}: connected, MQTT {connection.protocol}")


def check_metrics(config: MetricsConfig, site: str) -> CheckResult:
    """Whether the Prometheus port is free, and from where it can be reached.

    Raises:
        ConfigError: prometheus-client is not installed, or `listen` is not an IP address.
    """
    with Exporter(config, site) as exporter:
        trouble = exporter.problem()
    where = f"{config.listen} port {config.port}"
    if trouble:
        return fail(
            "metrics",
            trouble,
            "set another [metrics] port, or stop a running door: sudo systemctl stop edge",
        )
    if not ipaddress.ip_address(config.listen).is_loopback:
        remedy = 'unless you trust the network, set listen = "127.0.0.1" and fetch through ssh or a proxy'
        return warn("metrics", f"{where}: unencrypted for everybody who can reach it", remedy)
    return ok("metrics", f"{where} is free")


def check_certificates(config: DoorConfig, now: datetime | None = None) -> Iterator[CheckResult]:
    """Expiry of the broker's and the door's certificates, and the names in the broker's; `now` is an aware datetime."""
    mqtt = config.mqtt
    if not mqtt.url.startswith("mqtts://"):
        return
    moment = now or datetime.now(UTC)
    yield run_check(
        "tls",
        lambda: _presented(resolve_endpoint(mqtt), moment),
        "check the broker's certificate, and [mqtt] in door.toml",
    )
    for key, named in (("cert_file", mqtt.cert_file), ("ca_file", mqtt.ca_file)):
        if named:
            yield run_check("tls", lambda key=key, named=named: _configured(key, named, moment), _RENEW)  # type: ignore[misc]


def _presented(endpoint: Endpoint, now: datetime) -> CheckResult:
    """Read expiry and names of the certificate that the broker presents; the connection has verified it."""
    try:
        shown = ssl.get_server_certificate((endpoint.host, endpoint.port), timeout=_TIMEOUT_S)
    except OSError as error:
        raise BrokerError(f"{endpoint}: presents no certificate ({error.strerror or error})") from error
    certificate = x509.load_pem_x509_certificate(shown.encode())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = ", ".join(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        listed = "no name"
    return _expiry_result(f"broker, issued for {listed}", certificate, now)


def _configured(key: str, named: str, now: datetime) -> CheckResult:
    path: Path = secret_file(named, f"[mqtt] {key}")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"[mqtt] {key}: {named} is not a PEM certificate") from error
    return _expiry_result(f"{key} {named}", certificate, now)


def _expiry_result(what: str, certificate: x509.Certificate, now: datetime) -> CheckResult:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    days = (ends - now).days
    if now < begins:
        return fail(
            "tls", f"{what}: not valid before {begins:%Y-%m-%d %H:%M} UTC", "set the clock, or issue a new certificate"
        )
    if now > ends:
        return fail("tls", f"{what}: expired on {ends:%Y-%m-%d}", _RENEW)
    if days < _SOON_DAYS:
        return warn("tls", f"{what}: expires in {counted(days, 'day')}", _RENEW)
    return ok("tls", f"{what}: valid until {ends:%Y-%m-%d}")
