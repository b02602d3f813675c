"""From the [mqtt] table to a connection that the broker has accepted, or to one line that says why there is none."""

from __future__ import annotations

import contextlib
import ssl
import time

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError
from edge.mqtt.broker_endpoint import Endpoint, resolve_endpoint
from edge.mqtt.connection import Connection, open_connection
from edge.mqtt.messages import OutgoingMessage, Protocol
from edge.mqtt.paho_client import ANSWERS_BYTES, RESPONSE_TIMEOUT_S

MQTT5_PROBE_S = 2.0  # how long a broker may take to answer to version 5 before we ask in 3.1.1
# CONNACK reason codes of MQTT 5; paho translates those of 3.1.1 into them.
UNSUPPORTED_VERSION = 0x84
REFUSALS = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})  # client id, user or password, not authorised, banned, method
# OpenSSL's X509_V_ERR_*, of ssl.SSLCertVerificationError.verify_code.
NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64


class _UnsupportedProtocol(BrokerError):
    """The broker does not speak the version that was tried; unless `sure`, it only hung up, perhaps by accident."""

    def __init__(self, message: str, *, sure: bool) -> None:
        super().__init__(message)
        self.sure = sure


def connect(
    config: MqttConfig,
    *,
    client_id: str,
    will: OutgoingMessage | None = None,
    first: Protocol = "5",
    max_packet_bytes: int = ANSWERS_BYTES,
    session_s: int | None = None,
) -> tuple[Connection, Protocol]:
    """Connect and log in, speaking MQTT 5 where the broker does and 3.1.1 otherwise.

    Some brokers that only know 3.1.1 answer to version 5 with "unsupported version", others hang up without a word, so
    both lead to a second try. Blocks for at most about ten seconds.

    Args:
        config: the broker; its `protocol` can force one version.
        client_id: who we are; a second connection with the same id ends the first.
        will: what the broker shall publish if we vanish.
        first: what to try first when the version is not forced.
        max_packet_bytes: the longest packet that we read; the default suffices for all who subscribe to nothing. An
            MQTT 5 broker is told and leaves longer messages out; if one comes all the same, the connection ends before
            it is read. Over 3.1.1 that is so from `UNTOLD_BYTES` on.
        session_s: the broker keeps subscriptions, and what comes for them, so long after the connection has ended
            (over 3.1.1 as long as it likes); None: it keeps nothing.

    Returns:
        The connection, and what to try first next time. After a mere hang-up that is still 5: it may have been an
        accident, such as a broker just going down, and 5 is worth having.

    Raises:
        ConfigError: the table, or a file that it names, cannot be used.
        BrokerRefused: the broker refuses our login or certificate, or its own certificate is not good.
        BrokerError: it cannot be reached, or its certificate is not valid yet, as for a clock that is not set.
    """
    endpoint = resolve_endpoint(config)

    def attempt(protocol: Protocol, answer_s: float = RESPONSE_TIMEOUT_S) -> Connection:
        connection = _connect_with(endpoint, config.keepalive_s, protocol, client_id, will, max_packet_bytes, session_s)
        try:
            _wait_for_connack(connection, endpoint, answer_s)
        except BaseException:
            connection.abort()
            raise
        return connection

    if config.protocol != "auto":
        return attempt(config.protocol), config.protocol
    if first == "3.1.1":
        with contextlib.suppress(_UnsupportedProtocol):
            return attempt("3.1.1"), "3.1.1"
    try:
        return attempt("5", MQTT5_PROBE_S), "5"
    except _UnsupportedProtocol as error:
        return attempt("3.1.1"), "3.1.1" if error.sure else "5"


def _connect_with(
    endpoint: Endpoint,
    keepalive_s: int,
    protocol: Protocol,
    client_id: str,
    will: OutgoingMessage | None,
    max_packet_bytes: int,
    session_s: int | None,
) -> Connection:
    """One CONNECT in one protocol version.

    Raises:
        BrokerRefused: one side does not take the other's certificate.
        BrokerError: the broker cannot be reached.
    """
    try:
        return open_connection(
            endpoint,
            protocol,
            client_id=client_id,
            keepalive_s=keepalive_s,
            will=will,
            max_packet_bytes=max_packet_bytes,
            session_s=session_s,
        )
    except ssl.SSLCertVerificationError as error:
        kind = BrokerError if error.verify_code == NOT_YET_VALID else BrokerRefusedError  # a clock is set soon
        raise kind(f"{endpoint}: its certificate is not trusted: {_explain_tls_error(error, endpoint)}") from error
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            raise BrokerRefusedError(_explain_client_cert_alert(endpoint, error.reason)) from error
        raise BrokerError(f"{endpoint}: no TLS connection ({error.reason or error}); is this its TLS port?") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BrokerError(f"{endpoint}: cannot be reached ({why}); is the broker running there?") from error


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
    """The broker broke off TLS."""
    ours = "our certificate" if endpoint.certified else "us without a certificate"
    return (
        f"{endpoint}: refuses {ours} ({alert.lower().replace('_', ' ')}); set [mqtt] cert_file and key_file to a "
        "certificate that its authority signed and that has not expired"
    )


def _wait_for_connack(connection: Connection, endpoint: Endpoint, answer_s: float) -> None:
    """Wait for the broker to accept us.

    Raises:
        _ProtocolRefused: it does not seem to speak this version.
        BrokerRefused: it does not want us.
        BrokerError: something else is in the way.
    """
    deadline = time.monotonic() + answer_s
    hung_up = False
    while connection.connack is None and not hung_up and (left_s := deadline - time.monotonic()) > 0:
        try:
            connection.poll(left_s)
        except BrokerError:
            hung_up = True
    if connection.connack is None:
        if connection.tls_alert:
            raise BrokerRefusedError(_explain_client_cert_alert(endpoint, connection.tls_alert))
        what = "hung up" if hung_up else f"did not answer within {answer_s:.0f} s"
        hint = "; perhaps it wants a certificate, [mqtt] cert_file" if endpoint.tls and not endpoint.certified else ""
        asked = f"when asked to speak MQTT {connection.protocol}{hint}"
        raise _UnsupportedProtocol(f"{endpoint}: {what} {asked}", sure=not hung_up)
    code, reason = connection.connack
    if code == UNSUPPORTED_VERSION:
        raise _UnsupportedProtocol(f"{endpoint}: does not speak MQTT {connection.protocol}", sure=True)
    if code in REFUSALS:
        who = f"user '{endpoint.username}'" if endpoint.username else "a login without a user name"
        raise BrokerRefusedError(
            f"{endpoint}: refuses {who} ({reason}); check [mqtt] username and password_file, and the broker's rules"
        )
    if code:
        raise BrokerError(f"{endpoint}: does not accept the connection ({reason})")
