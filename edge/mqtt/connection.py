"""From the [mqtt] table to a connection that the broker has accepted, or to one line that says why there is none."""

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

MQTT5_PROBE_S = 2.0  # how long a broker may take to answer to version 5 before we try 3.1.1
# CONNACK reason codes of MQTT 5; paho translates those of 3.1.1 into them.
UNSUPPORTED_VERSION = 0x84
REFUSALS = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})  # client id, user or password, not authorised, banned, method
# OpenSSL's X509_V_ERR_*, of ssl.SSLCertVerificationError.verify_code.
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
    """Whether a door is connected to its broker, and why not; `protocol` is the MQTT version, "" unless online."""

    status: ConnectionStatus
    reason: str = ""
    protocol: str = ""

    @property
    def rejects_opens(self) -> bool:
        """Whether an open command need not wait for a connection."""
        return self.status in (ConnectionStatus.REFUSED, ConnectionStatus.CLOSED)


class _UnsupportedProtocolError(BrokerError):
    """The broker does not speak the version that was tried; unless `sure`, it only hung up, perhaps by accident."""

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
    """Connect and log in, with MQTT 5 where the broker speaks it and 3.1.1 otherwise.

    Some brokers that only know 3.1.1 answer to version 5 with "unsupported version", others hang up without a word, so
    both lead to a second attempt. Blocks for at most about ten seconds.

    Args:
        config: the broker; its `protocol` can force one version.
        client_id: our name; a second connection with the same id ends the first.
        will: topic and payload that the broker publishes, retained, if this connection breaks.
        first: version to try first when none is forced.
        max_packet_bytes: longest packet to accept; the default suffices for clients that subscribe to nothing. An
            MQTT 5 broker is told and drops longer messages; if one comes all the same, the connection ends before it
            is read. Over 3.1.1 that holds from `UNTOLD_BYTES` on.
        session_s: how long the broker keeps subscriptions, and messages for them, after the connection has ended (over
            3.1.1 as long as it likes); None: not at all.

    Returns:
        The connection, and the version to try first next time. After a mere hang-up that is still 5: it may have been
        an accident, such as a broker just going down, and 5 is worth having.

    Raises:
        ConfigError: the table, or a file that it names, cannot be used.
        BrokerRefusedError: the broker refuses our login or certificate, or its own certificate is not good.
        BrokerError: it cannot be reached, or its certificate is not valid yet, as when our clock is not set.
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
    """Our error for what went wrong on the way to CONNECT; a BrokerRefusedError if a certificate is not trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = BrokerError if error.verify_code == NOT_YET_VALID else BrokerRefusedError  # a clock is set soon
        return kind(f"{endpoint}: its certificate is not trusted: {_explain_tls_error(error, endpoint)}")
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return BrokerRefusedError(_explain_client_cert_alert(endpoint, error.reason))
        return BrokerError(f"{endpoint}: no TLS connection ({error.reason or error}); is this its TLS port?")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BrokerError(f"{endpoint}: cannot be reached ({why}); is the broker running there?")


def _explain_tls_error(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> str:
    """What is wrong with the broker's certificate, and what to do about it."""
    if error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        return f"it is not made out to '{endpoint.host}'; write the name that it is made out to in [mqtt] url"
    if error.verify_code == EXPIRED:
        return "it, or its authority's, has expired; give the broker a new one (or this clock is wrong)"
    if error.verify_code == NOT_YET_VALID:
        return "it is not valid yet; is this clock right? it is tried again"
    return f"{error.verify_message}; set [mqtt] ca_file to the certificate of the authority that signed it"


def _explain_client_cert_alert(endpoint: Endpoint, alert: str) -> str:
    """Why the broker broke off TLS, and what to do about it."""
    ours = "our certificate" if endpoint.certified else "us without a certificate"
    return (
        f"{endpoint}: refuses {ours} ({alert.lower().replace('_', ' ')}); set [mqtt] cert_file and key_file to a "
        "certificate that its authority signed and that has not expired"
    )


def _wait_for_connack(client: PahoClient, endpoint: Endpoint, answer_s: float) -> None:
    """Wait until the broker accepts us.

    Raises:
        _UnsupportedProtocolError: it does not seem to speak this version.
        BrokerRefusedError: it refuses our login.
        BrokerError: it does not accept us for another reason.
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
        what = "hung up" if hung_up else f"did not answer within {answer_s:.0f} s"
        hint = "; perhaps it wants a certificate, [mqtt] cert_file" if endpoint.tls and not endpoint.certified else ""
        asked = f"when asked to speak MQTT {client.protocol}{hint}"
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
