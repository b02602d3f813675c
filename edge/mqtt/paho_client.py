"""The only module that uses paho: one paho client that does nothing by itself, and the calls that move it on."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.core.errors import BrokerError
from edge.mqtt.broker_endpoint import Endpoint
from edge.mqtt.messages import IncomingMessage, OutgoingMessage, Protocol, PublishAck
from edge.mqtt.wakeup_pipe import WakeupPipe

RESPONSE_TIMEOUT_S = 5.0  # how long a broker may take for one answer
ANSWERS_BYTES = 4096  # of a packet to somebody who only publishes: the broker's answers, and a word from Home Assistant
UNTOLD_BYTES = 64 * 1024  # a broker of 3.1.1 cannot be told, and some send kept messages that nobody subscribed to
NO_SUBSCRIBERS = 0x10  # the reason code of a PUBACK for a message that reached nobody
FIRST_ERROR_CODE = 0x80  # MQTT reason codes from here on are failures
_QOS_2 = 0b100  # in the first byte of PUBLISH
_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


@dataclass(slots=True)
class CallbackState:
    """What paho's callbacks have heard and the owner has not taken yet.

    Attributes:
        connack: the answer to CONNECT, an MQTT 5 reason code (0: accepted) and its text.
        receive_max: how many messages of QoS 1 the broker lets us have under way.
        suback: the refusals of the latest SUBSCRIBE, "" for each topic that was granted.
        ended: why the connection is over; "" while it is not.
        alert: how the broker broke off TLS, in OpenSSL's words; "" if it did not.
        receipts, messages: in the order in which they came.
    """

    connack: tuple[int, str] | None = None
    receive_max: int = 65_535
    suback: list[str] | None = None
    ended: str = ""
    alert: str = ""
    receipts: deque[PublishAck] = field(default_factory=deque)
    messages: deque[IncomingMessage] = field(default_factory=deque)


class BoundedClient(paho.Client):
    """A paho client that cuts the connection rather than gather what nobody asked for, and keeps a TLS alert.

    That is a packet beyond a limit, and a message of QoS 2: we never subscribe with it, and paho keeps each one until
    the broker releases it. paho asks its socket for the whole rest of a packet, so what it asks for shows the packet's
    length before its first byte is read. These hooks are not part of paho's API; `tests/mqtt/test_packet_limits.py` and
    `tests/mqtt/test_broker_access.py` notice if they stop being called.
    """

    max_packet_bytes: int = ANSWERS_BYTES
    alert: str = ""
    offence: str = ""

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.max_packet_bytes:
            self.offence = f"sent a packet of {bufsize} bytes, more than {self.max_packet_bytes}"
            raise ConnectionError(self.offence)
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:
            self.alert = error.reason if "ALERT" in (error.reason or "") else ""
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except (ssl.SSLError, ConnectionError):  # why it was closed has perhaps been said, and not been read yet
            with contextlib.suppress(OSError):
                self._sock_recv(1)
            raise

    def ping(self) -> None:
        """Send PINGREQ now; paho itself does it when the line has been quiet for long."""
        self._send_pingreq()

    def _handle_publish(self) -> MQTTErrorCode:
        if self._in_packet["command"] & _QOS_2:
            self.offence = "sent a message of QoS 2, which nobody asked for"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """As paho does it for a context that checks the host name, but nothing stays open after a refusal."""
        assert self._ssl_context is not None
        encrypted = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            encrypted.settimeout(RESPONSE_TIMEOUT_S)
            encrypted.do_handshake()
        except BaseException:
            encrypted.close()
            raise
        return encrypted


def connect_client(
    endpoint: Endpoint,
    protocol: Protocol,
    inbox: CallbackState,
    *,
    client_id: str,
    keepalive_s: int,
    will: OutgoingMessage | None,
    max_packet_bytes: int,
    session_s: int | None = None,
) -> BoundedClient:
    """Reach the broker and send CONNECT; what comes back goes into `inbox`.

    Raises:
        ssl.SSLError: TLS fails.
        OSError, ValueError: the host is not found or does not answer.
    """
    client = _client(endpoint, protocol, client_id, inbox, max_packet_bytes, lasting=session_s is not None)
    properties = None
    clean_start: bool | Literal[3] = paho.MQTT_CLEAN_START_FIRST_ONLY
    if protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = max_packet_bytes
        if session_s is not None:
            properties.SessionExpiryInterval, clean_start = session_s, False
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    client.connect(endpoint.host, endpoint.port, keepalive_s, clean_start=clean_start, properties=properties)
    _set_tcp_nodelay(client)
    return client


def send(client: paho.Client, protocol: Protocol, inbox: CallbackState, message: OutgoingMessage) -> int:
    """Hand a message to the socket; returns its number.

    Raises:
        BrokerError: the connection has ended.
    """
    properties = None
    if protocol == "5" and message.expiry_s is not None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = message.expiry_s
    sent = client.publish(message.topic, message.payload, message.qos, message.retain, properties)
    if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise BrokerError(inbox.ended or f"the message to {message.topic} could not be sent ({sent.rc.name})")
    return sent.mid


def poll_client(client: paho.Client, inbox: CallbackState, timeout_s: float, waker: WakeupPipe | None) -> None:
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
        waker.drain()
    codes = []
    if sock in readable or decrypted:
        codes.append(client.loop_read())
    if sock in writable:
        codes.append(client.loop_write())
    codes.append(client.loop_misc())
    if not inbox.ended and any(code != MQTTErrorCode.MQTT_ERR_SUCCESS for code in codes):
        inbox.ended = "the connection was lost"


def disconnect_client(client: paho.Client) -> None:
    """Close the socket at once; the kernel throws away what it has not sent."""
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            sock.close()


def _client(
    endpoint: Endpoint,
    protocol: Protocol,
    client_id: str,
    inbox: CallbackState,
    max_packet_bytes: int,
    *,
    lasting: bool,
) -> BoundedClient:
    """A paho client that writes all it hears into `inbox` and does nothing by itself."""
    client = BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=_PAHO_VERSION[protocol],
        clean_session=None if protocol == "5" else not lasting,
        reconnect_on_failure=False,
    )
    client.max_packet_bytes = max_packet_bytes if protocol == "5" else max(max_packet_bytes, UNTOLD_BYTES)
    client.connect_timeout = RESPONSE_TIMEOUT_S
    client.max_inflight_messages_set(0)  # no queue inside paho: its owner counts
    if endpoint.username:
        client.username_pw_set(endpoint.username, endpoint.password)
    if endpoint.tls is not None:
        client.tls_set_context(endpoint.tls)

    def on_connect(_c: Any, _u: Any, _flags: Any, code: ReasonCode, properties: Properties | None) -> None:
        inbox.receive_max = int(getattr(properties, "ReceiveMaximum", inbox.receive_max))
        inbox.connack = (code.value, str(code))

    def on_disconnect(_c: Any, _u: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        inbox.alert = client.alert
        ended = (
            f"ended the connection ({code})" if flags.is_disconnect_packet_from_server else "the connection was lost"
        )
        inbox.ended = inbox.ended or f"{endpoint}: {client.offence or ended}"

    def on_publish(_c: Any, _u: Any, number: int, code: ReasonCode, _properties: Any) -> None:
        refusal = str(code) if code.value >= FIRST_ERROR_CODE else ""
        inbox.receipts.append(PublishAck(number, refusal, unheard=code.value == NO_SUBSCRIBERS))

    def on_subscribe(_c: Any, _u: Any, _number: int, codes: list[ReasonCode], _properties: Any) -> None:
        inbox.suback = [str(code) if code.value >= FIRST_ERROR_CODE else "" for code in codes]

    def on_message(_c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # such a topic is none of ours, and must not end the connection
            inbox.messages.append(IncomingMessage(message.topic, bytes(message.payload), message.retain))

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_publish = on_publish
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    return client


def _set_tcp_nodelay(client: paho.Client) -> None:
    """Let a small message out at once, whatever else is under way."""
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
