"""Checks of the network: the broker, the expiry of certificates, and the metrics port."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from edge.core.config import DoorConfig, MetricsConfig, MqttConfig
from edge.core.credentials import secret_file
from edge.core.errors import BrokerError, ConfigError
from edge.diagnostics.report import CheckResult, ask, fail, ok, warn
from edge.mqtt.broker_endpoint import Endpoint, resolve_endpoint
from edge.mqtt.connection import connect
from edge.runtime.prometheus_server import Exporter

_TIMEOUT_S = 5.0
_SOON_DAYS = 30
_RENEW = "make a new one; systemd/mosquitto/keys.sh does, for a site's own authority"


def check_broker(config: MqttConfig) -> CheckResult:
    """Connect to the broker as the door does.

    Raises:
        ConfigError, BrokerError: it cannot be reached, or it rejects the login.
    """
    connection, _ = connect(config, client_id=f"threshold-check-{os.getpid()}")
    connection.close()
    if config.insecure:
        remedy = "use mqtts://; systemd/mosquitto/ sets such a broker up"
        return warn("broker", f"{config.url}: unencrypted, all on the network may open the door", remedy)
    return ok("broker", f"{config.url}: connected, MQTT {connection.protocol}")


def check_metrics(config: MetricsConfig, site: str) -> CheckResult:
    """Whether the port for Prometheus is free, and who can reach it.

    Raises:
        ConfigError: prometheus-client is not installed, or it is no address.
    """
    with Exporter(config, site) as exporter:
        trouble = exporter.problem()
    where = f"{config.listen} port {config.port}"
    if trouble:
        return fail("metrics", trouble, "set another [metrics] port; a door that runs has it: sudo systemctl stop edge")
    if not ipaddress.ip_address(config.listen).is_loopback:
        remedy = 'listen = "127.0.0.1" and let Prometheus fetch through ssh or a proxy, unless the network is trusted'
        return warn("metrics", f"{where}: unencrypted, for everybody who reaches it", remedy)
    return ok("metrics", f"{where} is free")


def check_certificates(config: DoorConfig, now: datetime | None = None) -> Iterator[CheckResult]:
    """Expiry at `now` (aware) of the broker's certificate and ours, and the names in the broker's."""
    mqtt = config.mqtt
    if not mqtt.url.startswith("mqtts://"):
        return
    moment = now or datetime.now(UTC)
    yield ask("tls", lambda: _shown(resolve_endpoint(mqtt), moment), "see [mqtt] in door.toml")
    for key, named in (("cert_file", mqtt.cert_file), ("ca_file", mqtt.ca_file)):
        if named:
            yield ask("tls", lambda key=key, named=named: _held(key, named, moment), _RENEW)  # type: ignore[misc]


def _shown(endpoint: Endpoint, now: datetime) -> CheckResult:
    """The certificate that the broker shows. The login has verified it; this reads its expiry only."""
    try:
        shown = ssl.get_server_certificate((endpoint.host, endpoint.port), timeout=_TIMEOUT_S)
    except OSError as error:
        raise BrokerError(f"{endpoint}: shows no certificate ({error.strerror or error})") from error
    certificate = x509.load_pem_x509_certificate(shown.encode())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = ", ".join(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        listed = "nobody"
    return _expiry_result(f"the broker's, made out to {listed}", certificate, now)


def _held(key: str, named: str, now: datetime) -> CheckResult:
    path: Path = secret_file(named, f"[mqtt] {key}")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"[mqtt] {key}: {named} holds no PEM certificate") from error
    return _expiry_result(f"{key} {named}", certificate, now)


def _expiry_result(what: str, certificate: x509.Certificate, now: datetime) -> CheckResult:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    days = (ends - now).days
    if now < begins:
        return fail("tls", f"{what}: not valid before {begins:%Y-%m-%d %H:%M} UTC", "set the clock, or make a new one")
    if now > ends:
        return fail("tls", f"{what}: expired on {ends:%Y-%m-%d}", _RENEW)
    if days < _SOON_DAYS:
        return warn("tls", f"{what}: expires in {days} days", _RENEW)
    return ok("tls", f"{what}: until {ends:%Y-%m-%d}")
