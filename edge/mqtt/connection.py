"""Connects to the broker of the [mqtt] table, or raises an error with the reason and the remedy in one line."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from enum import StrEnum

from edge.core.clock import SYSTEM_CLOCK
from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError
from edge.mqtt.broker_endpoint import Endpoint, resolve_endpoint
from edge.mqtt.paho_client import ANSWERS_BYTES, RESPONSE_TIMEOUT_S, PahoClient, Protocol

MQTT5_PROBE_S = 2.0  # wait for an answer to version 5 before 3.1.1 is tried
# CONNACK reason codes of MQTT 5; paho translates those of 3.1.1 into them.
UNSUPPORTED_VERSION = 0x84
REFUSALS = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})  # client id, user or password, not authorised, banned, method
# X509_V_ERR_* of OpenSSL, in ssl.SSLCertVerificationError.verify_code.
NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64


class ConnectionStatus(StrEnum):
    """Whether a door is connected to its broker."""

    CONNECTING = "connecting"
    ONLINE = "online"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Connection status of a door, the reason if it is not online, and the MQTT version if it is."""

    status: ConnectionStatus
    reason: str = ""
    protocol: str = ""

    @property
    def rejects_opens(self) -> bool:
        """Whether open commands are rejected immediately instead of waiting for a connection."""
        return self.status in (ConnectionStatus.REFUSED, ConnectionStatus.CLOSED)


class _UnsupportedProtocolError(BrokerError):
    """The broker does not speak the version that was tried. If not `sure`, it only closed the connection."""

    def __init__(self, message: str, *, sure: bool) -> None:
        super().__init__(message)
        self.sure = sure


def connect(
    config: MqttConfig,
    *,
    client_id: str,
    will: tuple[str, bytes] | None = None,
    first: Protocol = "5",
    max_packet_bytes: int = ANSWERS_BYTES,
    session_s: int | None = None,
) -> tuple[PahoClient, Protocol]:
    """Connect and log in, with MQTT 5 if the broker speaks it, otherwise with 3.1.1.

    Some brokers of 3.1.1 answer version 5 with "unsupported version", others close the connection without an answer;
    both lead to a second attempt. Blocks for at most about ten seconds.

    Args:
        config: broker; its `protocol` can force one version.
        client_id: client id; a second connection with the same id ends the first.
        will: topic and payload that the broker publishes, retained, if this connection breaks.
        first: version to try first when none is forced.
        max_packet_bytes: longest packet to accept; the default is enough for clients that subscribe to nothing. An
            MQTT 5 broker receives the limit and drops longer messages. If a longer one arrives, the connection ends
            before it is read; over 3.1.1 the limit is at least `MIN_LIMIT_311_BYTES`.
        session_s: time for which the broker keeps subscriptions and their messages after the connection has ended (the
            broker decides over 3.1.1); None: no time.

    Returns:
        The connection, and the version to try first next time. After a closed connection that is still 5, because the
        broker may just have been shutting down.

    Raises:
        ConfigError: the table, or a file that it names, cannot be used.
        BrokerRefusedError: the broker refuses the login or client certificate, or its own certificate is not trusted.
        BrokerError: the broker cannot be reached, or its certificate is not valid yet, as when the clock is not set.
    """
    endpoint = resolve_endpoint(config)

    def attempt(protocol: Protocol, answer_s: float = RESPONSE_TIMEOUT_S) -> PahoClient:
        try:
            client = PahoClient(
                endpoint,
                protocol,
                client_id=client_id,
                keepalive_s=config.keepalive_s,
                will=will,
                max_packet_bytes=max_packet_bytes,
                session_s=session_s,
            )
        except (OSError, ValueError) as error:
            raise _explained(error, endpoint) from error
        try:
            _wait_for_connack(client, endpoint, answer_s)
        except BaseException:
            client.abort()
            raise
        return client

    if config.protocol != "auto":
        return attempt(config.protocol), config.protocol
    if first == "3.1.1":
        with contextlib.suppress(_UnsupportedProtocolError):
            return attempt("3.1.1"), "3.1.1"
    try:
        return attempt("5", MQTT5_PROBE_S), "5"
    except _UnsupportedProtocolError as error:
        return attempt("3.1.1"), "3.1.1" if error.sure else "5"


def _explained(error: OSError | ValueError, endpoint: Endpoint) -> BrokerError:
    """Translate an error before CONNECT; a BrokerRefusedError if a certificate is not trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = BrokerError if error.verify_code == NOT_YET_VALID else BrokerRefusedError  # until the clock is set
        return kind(f"{endpoint}: its certificate is not trusted: {_explain_tls_error(error, endpoint)}")
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return BrokerRefusedError(_explain_client_cert_alert(endpoint, error.reason))
        return BrokerError(f"{endpoint}: no TLS connection ({error.reason or error}); check that this is the TLS port")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BrokerError(f"{endpoint}: cannot be reached ({why}); is the broker running there?")


def _explain_tls_error(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> str:
    """Problem of the broker's certificate, with the remedy."""
    if error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        return f"it is not issued to '{endpoint.host}'; use a name of the certificate in [mqtt] url"
    if error.verify_code == EXPIRED:
        return "it, or that of its authority, has expired; renew it, or correct the clock of this machine"
    if error.verify_code == NOT_YET_VALID:
        return "it is not valid yet; check the clock of this machine. The connection is retried"
    return f"{error.verify_message}; set [mqtt] ca_file to the certificate of the authority that signed it"


def _explain_client_cert_alert(endpoint: Endpoint, alert: str) -> str:
    """Reason why the broker ended TLS, with the remedy."""
    client = "the client certificate" if endpoint.certified else "clients without a certificate"
    return (
        f"{endpoint}: refuses {client} ({alert.lower().replace('_', ' ')}); set [mqtt] cert_file and key_file to a "
        "certificate that its authority signed and that has not expired"
    )


def _wait_for_connack(client: PahoClient, endpoint: Endpoint, answer_s: float) -> None:
    """Wait until the broker accepts the connection.

    Raises:
        _UnsupportedProtocolError: the broker does not seem to speak this version.
        BrokerRefusedError: the broker refuses the login.
        BrokerError: the broker does not accept the connection for another reason.
    """
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + round(answer_s * 1e9)
    hung_up = False
    while client.connack is None and not hung_up and (left_ns := deadline_ns - SYSTEM_CLOCK.monotonic_ns()) > 0:
        try:
            client.poll(left_ns / 1e9)
        except BrokerError:
            hung_up = True
    if client.connack is None:
        if client.tls_alert:
            raise BrokerRefusedError(_explain_client_cert_alert(endpoint, client.tls_alert))
        what = "closed the connection" if hung_up else f"did not answer within {answer_s:.0f} s"
        hint = (
            "; if it requires a client certificate, set [mqtt] cert_file"
            if endpoint.tls and not endpoint.certified
            else ""
        )
        asked = f"after CONNECT with MQTT {client.protocol}{hint}"
        raise _UnsupportedProtocolError(f"{endpoint}: {what} {asked}", sure=not hung_up)
    code, reason = client.connack
    if code == UNSUPPORTED_VERSION:
        raise _UnsupportedProtocolError(f"{endpoint}: does not speak MQTT {client.protocol}", sure=True)
    if code in REFUSALS:
        who = f"user '{endpoint.username}'" if endpoint.username else "a login without a user name"
        raise BrokerRefusedError(
            f"{endpoint}: refuses {who} ({reason}); check [mqtt] username and password_file, and the broker's rules"
        )
    if code:
        raise BrokerError(f"{endpoint}: does not accept the connection ({reason})")
