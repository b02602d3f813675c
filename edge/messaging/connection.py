"""One connection to an MQTT broker, from CONNECT to its end; the only module that uses paho.

A connection never reconnects and never sends anything twice: whoever needs another one makes another one. So there is
exactly one owner of re-sending, and nothing that waited in an old connection can come out of a new one. It has no
thread of its own: its owner calls `spin`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import MqttConfig
from edge.errors import BrokerError, BrokerRefused
from edge.messaging.endpoint import Endpoint, read_endpoint

Protocol = Literal["5", "3.1.1"]

CONNECT_TIMEOUT_S = 5.0
TRY_5_S = 2.0  # how long a broker may take to answer to version 5 before we ask in 3.1.1
GOODBYE_S = 0.5  # how long the broker may take to close after DISCONNECT
FAILURE = 0x80  # MQTT reason codes from here on are failures
# CONNACK reason codes of MQTT 5; paho translates those of 3.1.1 into them.
UNSUPPORTED_VERSION = 0x84
REFUSALS = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})  # client id, user or password, not authorised, banned, method
_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class _ProtocolRefused(BrokerError):
    """The broker does not speak the version that was tried; unless `sure`, it only hung up, perhaps by accident."""

    def __init__(self, message: str, *, sure: bool) -> None:
        super().__init__(message)
        self.sure = sure


class Waker:
    """Ends a wait from another thread, or from a signal handler. Holds nothing open before `open` and after `close`."""

    def __init__(self) -> None:
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        self._pair = socket.socketpair()
        for end in self._pair:
            end.setblocking(False)

    def wake(self) -> None:
        """End the wait that is going on, or the next one."""
        if self._pair is not None:
            with contextlib.suppress(OSError):  # full: it is awake already; just closed: nobody waits
                self._pair[1].send(b"\0")

    def wait(self, timeout_s: float) -> None:
        """Wait until somebody calls `wake`, or until the time is over."""
        select.select([self], [], [], max(timeout_s, 0.0))
        self.clear()

    def clear(self) -> None:
        """Forget the wakes so far."""
        if self._pair is not None:
            with contextlib.suppress(OSError):
                while self._pair[0].recv(4096):
                    pass

    def fileno(self) -> int:
        return -1 if self._pair is None else self._pair[0].fileno()

    def close(self) -> None:
        if self._pair is not None:
            for end in self._pair:
                end.close()
            self._pair = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish. `expiry_s` (MQTT 5 only) is how long the broker may hold it back."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retain: bool = False
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message received."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """The broker's answer to one message of QoS 1, by the number that `publish` gave; `refusal` is "" if it took it."""

    number: int
    refusal: str


@dataclass(slots=True)
class _Inbox:
    """What paho's callbacks have heard and the owner has not taken yet."""

    connack: tuple[int, str] | None = None
    receive_max: int = 65_535
    suback: list[str] | None = None
    ended: str = ""
    receipts: deque[Receipt] = field(default_factory=deque)
    messages: deque[Incoming] = field(default_factory=deque)


class Connection:
    """An accepted connection. Not safe for several threads: its owner alone calls it.

    Attributes:
        protocol: what is spoken.
        receive_max: how many messages of QoS 1 the broker lets us have under way.
    """

    def __init__(self, client: paho.Client, protocol: Protocol, inbox: _Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self.protocol = protocol
        self.receive_max = inbox.receive_max

    def publish(self, message: Outgoing) -> int:
        """Hand a message to the socket; the number returned comes back in a `Receipt` if its QoS is 1.

        Raises:
            BrokerError: the connection has ended.
        """
        properties = None
        if self.protocol == "5" and message.expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.expiry_s
        sent = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerError(self._inbox.ended or f"the message to {message.topic} could not be sent ({sent.rc.name})")
        return sent.mid

    def congested(self) -> bool:
        """Whether bytes wait because the network does not take them."""
        return self._client.want_write()

    def spin(self, timeout_s: float, waker: Waker | None = None) -> None:
        """Send and receive what is possible, waiting for something to do at most `timeout_s`.

        Raises:
            BrokerError: the connection has ended.
        """
        _spin(self._client, self._inbox, timeout_s, waker)
        if self._inbox.ended:
            raise BrokerError(self._inbox.ended)

    def receipts(self) -> list[Receipt]:
        """Take the receipts that have come in."""
        taken = list(self._inbox.receipts)
        self._inbox.receipts.clear()
        return taken

    def messages(self) -> list[Incoming]:
        """Take the messages that have come in."""
        taken = list(self._inbox.messages)
        self._inbox.messages.clear()
        return taken

    def subscribe(self, topics: list[str], qos: int) -> None:
        """Subscribe, and wait until the broker has confirmed it.

        Raises:
            BrokerRefused: it does not let us read one of them.
            BrokerError: the connection has ended, or no answer came.
        """
        self._inbox.suback = None
        self._client.subscribe([(topic, qos) for topic in topics])
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while self._inbox.suback is None:
            if time.monotonic() > deadline:
                raise BrokerError("the broker does not answer to SUBSCRIBE")
            self.spin(deadline - time.monotonic())
        refused = [f"{topic} ({why})" for topic, why in zip(topics, self._inbox.suback, strict=False) if why]
        if refused:
            raise BrokerRefused(f"the broker does not let us read {', '.join(refused)}: check its access rules")

    def unsubscribe(self, topics: list[str]) -> None:
        """Hear no more of these topics; not waited for."""
        self._client.unsubscribe(topics)

    def close(self) -> None:
        """Say goodbye, so that the last will is not sent, and close."""
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
            deadline = time.monotonic() + GOODBYE_S
            while self._client.socket() is not None and time.monotonic() < deadline:
                _spin(self._client, self._inbox, deadline - time.monotonic(), None)
        self.abort()

    def abort(self) -> None:
        """Cut the connection at once: what the broker has not received yet is thrown away, also by the kernel.

        Without the reset, TCP would go on delivering what is in its buffer when the network comes back, perhaps long
        after it mattered.
        """
        _drop(self._client)


def connect(
    config: MqttConfig,
    *,
    client_id: str,
    will: Outgoing | None = None,
    first: Protocol = "5",
    max_packet_bytes: int | None = None,
) -> tuple[Connection, Protocol]:
    """Connect and log in, speaking MQTT 5 where the broker does and 3.1.1 otherwise.

    Some brokers that only know 3.1.1 answer to version 5 with "unsupported version", others hang up without a word, so
    both lead to a second try. Blocks for at most about ten seconds.

    Args:
        config: the broker; its `protocol` can force one version.
        client_id: who we are; a second connection with the same id ends the first.
        will: what the broker shall publish if we vanish.
        first: what to try first when the version is not forced.
        max_packet_bytes: larger messages are not for us. An MQTT 5 broker is told and leaves them out; if one comes
            all the same, as over 3.1.1, the connection ends before it is read.

    Returns:
        The connection, and what to try first next time. After a mere hang-up that is still 5: it may have been an
        accident, such as a broker just going down, and 5 is worth having.

    Raises:
        ConfigError: the password or certificate file cannot be read, or the address is none.
        BrokerRefused: the broker refuses the login.
        BrokerError: it cannot be reached.
    """
    endpoint = read_endpoint(config)

    def attempt(protocol: Protocol, answer_s: float = CONNECT_TIMEOUT_S) -> Connection:
        return _attempt(endpoint, config, protocol, client_id, will, answer_s, max_packet_bytes)

    if config.protocol != "auto":
        return attempt(config.protocol), config.protocol
    if first == "3.1.1":
        with contextlib.suppress(_ProtocolRefused):
            return attempt("3.1.1"), "3.1.1"
    try:
        return attempt("5", TRY_5_S), "5"
    except _ProtocolRefused as error:
        return attempt("3.1.1"), "3.1.1" if error.sure else "5"


def _attempt(
    endpoint: Endpoint,
    config: MqttConfig,
    protocol: Protocol,
    client_id: str,
    will: Outgoing | None,
    answer_s: float,
    max_packet_bytes: int | None,
) -> Connection:
    """One CONNECT in one protocol version."""
    inbox = _Inbox()
    client = _client(endpoint, protocol, client_id, inbox, max_packet_bytes)
    properties = None
    if protocol == "5" and max_packet_bytes is not None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = max_packet_bytes
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    try:
        client.connect(endpoint.host, endpoint.port, config.keepalive_s, properties=properties)
    except ssl.SSLCertVerificationError as error:
        raise BrokerRefused(
            f"{endpoint}: its certificate is not trusted ({error.verify_message}); "
            "set [mqtt] ca_file to the certificate of its authority, and use the host name that it is made out to"
        ) from error
    except ssl.SSLError as error:
        raise BrokerError(f"{endpoint}: no TLS connection ({error.reason or error}); is this its TLS port?") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BrokerError(f"{endpoint}: cannot be reached ({why}); is the broker running there?") from error
    _nodelay(client)
    deadline = time.monotonic() + answer_s
    while inbox.connack is None and not inbox.ended and time.monotonic() < deadline:
        _spin(client, inbox, deadline - time.monotonic(), None)
    if inbox.connack is not None and inbox.connack[0] == 0:
        return Connection(client, protocol, inbox)
    _drop(client)
    if inbox.connack is None:
        what = "hung up" if inbox.ended else f"did not answer within {answer_s:.0f} s"
        raise _ProtocolRefused(f"{endpoint}: {what} when asked to speak MQTT {protocol}", sure=not inbox.ended)
    code, reason = inbox.connack
    if code == UNSUPPORTED_VERSION:
        raise _ProtocolRefused(f"{endpoint}: does not speak MQTT {protocol}", sure=True)
    if code in REFUSALS:
        who = f"user '{endpoint.username}'" if endpoint.username else "a login without a user name"
        raise BrokerRefused(
            f"{endpoint}: refuses {who} ({reason}); check [mqtt] username and password_file, and the broker's rules"
        )
    raise BrokerError(f"{endpoint}: does not accept the connection ({reason})")


class _BoundedClient(paho.Client):
    """A paho client that cuts the connection rather than gather a packet beyond a limit.

    paho asks its socket for the whole rest of a packet, so what it asks for shows the packet's length before its first
    byte is read. This hook is not part of paho's API; `tests/test_release.py` notices if it stops being called.
    """

    max_packet_bytes: int | None = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if self.max_packet_bytes is not None and bufsize > self.max_packet_bytes:
            raise ConnectionError(f"a packet of {bufsize} bytes, more than {self.max_packet_bytes}")
        return super()._sock_recv(bufsize)


def _client(
    endpoint: Endpoint, protocol: Protocol, client_id: str, inbox: _Inbox, max_packet_bytes: int | None
) -> paho.Client:
    """A paho client that writes all it hears into `inbox` and does nothing by itself."""
    client = _BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=_PAHO_VERSION[protocol],
        clean_session=None if protocol == "5" else True,
        reconnect_on_failure=False,
    )
    client.max_packet_bytes = max_packet_bytes
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(0)  # no queue inside paho: its owner counts
    if endpoint.username:
        client.username_pw_set(endpoint.username, endpoint.password)
    if endpoint.tls is not None:
        client.tls_set_context(endpoint.tls)

    def on_connect(_c: Any, _u: Any, _flags: Any, code: ReasonCode, properties: Properties | None) -> None:
        inbox.receive_max = int(getattr(properties, "ReceiveMaximum", inbox.receive_max))
        inbox.connack = (code.value, str(code))

    def on_disconnect(_c: Any, _u: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        inbox.ended = inbox.ended or f"{endpoint}: " + (
            f"ended the connection ({code})" if flags.is_disconnect_packet_from_server else "the connection was lost"
        )

    def on_publish(_c: Any, _u: Any, number: int, code: ReasonCode, _properties: Any) -> None:
        inbox.receipts.append(Receipt(number, str(code) if code.value >= FAILURE else ""))

    def on_subscribe(_c: Any, _u: Any, _number: int, codes: list[ReasonCode], _properties: Any) -> None:
        inbox.suback = [str(code) if code.value >= FAILURE else "" for code in codes]

    def on_message(_c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        inbox.messages.append(Incoming(message.topic, bytes(message.payload), message.retain))

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_publish = on_publish
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    return client


def _spin(client: paho.Client, inbox: _Inbox, timeout_s: float, waker: Waker | None) -> None:
    """One round of reading, writing and keep-alive."""
    sock = client.socket()
    if sock is None:
        inbox.ended = inbox.ended or "the connection was lost"
        return
    decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0  # select does not see what TLS has read ahead
    wait_s = 0.0 if decrypted else max(timeout_s, 0.0)
    readers: list[Any] = [sock] if waker is None else [sock, waker]
    readable, writable, _ = select.select(readers, [sock] if client.want_write() else [], [], wait_s)
    if waker is not None and waker in readable:
        waker.clear()
    codes = []
    if sock in readable or decrypted:
        codes.append(client.loop_read())
    if sock in writable:
        codes.append(client.loop_write())
    codes.append(client.loop_misc())
    if not inbox.ended and any(code != MQTTErrorCode.MQTT_ERR_SUCCESS for code in codes):
        inbox.ended = "the connection was lost"


def _nodelay(client: paho.Client) -> None:
    """Let a small message out at once, whatever else is under way."""
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _drop(client: paho.Client) -> None:
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            sock.close()
