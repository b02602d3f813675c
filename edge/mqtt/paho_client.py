"""One connection to an MQTT broker, from CONNECT to its end; the only module that imports paho.

A client never reconnects and never sends a message twice; its owner makes a new client. So only the owner re-sends, and
a message of an old connection never leaves through a new one. It has no thread; its owner calls `poll`. Timeouts use
real time, because `select` does.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.core.clock import SYSTEM_CLOCK
from edge.core.errors import BrokerError, BrokerRefusedError
from edge.core.wakeup_pipe import WakeupPipe
from edge.mqtt.broker_endpoint import Endpoint

Protocol = Literal["5", "3.1.1"]  # versions of MQTT
RESPONSE_TIMEOUT_S = 5.0  # longest wait for an answer of the broker
DISCONNECT_TIMEOUT_S = 0.5  # longest wait for the broker to close after DISCONNECT
ANSWERS_BYTES = 4096  # longest packet to a client that only publishes: answers, and Home Assistant's birth message
MIN_LIMIT_311_BYTES = 64 * 1024  # 3.1.1 cannot announce a limit, and some brokers send unasked
NO_SUBSCRIBERS = 0x10  # reason code of PUBACK: no matching subscribers
FIRST_ERROR_CODE = 0x80  # MQTT reason codes from here on are failures
_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A received message."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class PublishAck:
    """Acknowledgement of a message of QoS 1; `refusal` is the reason of a refusal, "" if it was accepted.

    `unheard`: the broker reports that no client subscribes to the topic, as some MQTT 5 brokers do.
    """

    packet_id: int
    refusal: str
    unheard: bool = False


class _BoundedClient(paho.Client):
    """A paho client that ends the connection on a packet that is too long or has QoS 2, and keeps a TLS alert.

    Subscriptions never use QoS 2, and paho would keep each such message until the broker releases it. The size that
    paho requests from its socket is the length of the whole packet, before it is read. These hooks are not part of the
    API of paho. Tests in `test_paho_client.py` and `test_broker_access.py` fail if paho stops calling them.
    """

    max_packet_bytes: int = ANSWERS_BYTES
    tls_alert: str = ""
    offence: str = ""

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.max_packet_bytes:
            self.offence = f"sent a packet of {bufsize} bytes, more than {self.max_packet_bytes}"
            raise ConnectionError(self.offence)
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:
            self.tls_alert = error.reason if "ALERT" in (error.reason or "") else ""
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except (ssl.SSLError, ConnectionError):  # an alert may have arrived and be unread
            with contextlib.suppress(OSError):
                self._sock_recv(1)
            raise

    def _handle_publish(self) -> MQTTErrorCode:
        if self._in_packet["command"] & 0b100:  # QoS 2
            self.offence = "sent a message of QoS 2 without a subscription for it"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """As in paho for a context that checks the host name, but the socket is closed after a failure."""
        assert self._ssl_context is not None
        tcp_sock.settimeout(RESPONSE_TIMEOUT_S)
        return self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host)  # performs the handshake


class PahoClient:
    """One connection to a broker. The constructor sends CONNECT, `poll` receives the answer. Not thread-safe.

    Args: as for `edge.mqtt.connection.connect`, and the MQTT version.

    Attributes:
        protocol: MQTT version.
        connack: answer to CONNECT, an MQTT 5 reason code (0: accepted) and its text; None before it arrives.
        receive_max: number of unacknowledged messages of QoS 1 that the broker accepts.
        tls_alert: TLS alert of the broker in the words of OpenSSL, or "".

    Raises:
        ssl.SSLError: TLS fails.
        OSError, ValueError: the host is not found or does not answer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        protocol: Protocol,
        *,
        client_id: str,
        keepalive_s: int,
        will: tuple[str, bytes] | None = None,
        max_packet_bytes: int = ANSWERS_BYTES,
        session_s: int | None = None,
    ) -> None:
        self.protocol = protocol
        self.connack: tuple[int, str] | None = None
        self.receive_max = 65_535
        self.tls_alert = ""
        self._endpoint = endpoint
        self._suback: list[str] | None = None  # refusals of the latest SUBSCRIBE; "" for a granted topic
        self._ended = ""  # why the connection has ended
        self._acks: list[PublishAck] = []
        self._messages: list[IncomingMessage] = []
        self._client = client = _BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=_PAHO_VERSION[protocol],
            clean_session=None if protocol == "5" else session_s is None,
            reconnect_on_failure=False,
        )
        client.max_packet_bytes = max_packet_bytes if protocol == "5" else max(max_packet_bytes, MIN_LIMIT_311_BYTES)
        client.connect_timeout = RESPONSE_TIMEOUT_S
        client.max_inflight_messages_set(0)  # no queue in paho; the owner counts
        if endpoint.username:
            client.username_pw_set(endpoint.username, endpoint.password)
        if endpoint.tls is not None:
            client.tls_set_context(endpoint.tls)
        if will is not None:
            client.will_set(*will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        properties = None
        clean_start: bool | Literal[3] = paho.MQTT_CLEAN_START_FIRST_ONLY
        if protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = max_packet_bytes
            if session_s is not None:
                properties.SessionExpiryInterval, clean_start = session_s, False
        client.connect(endpoint.host, endpoint.port, keepalive_s, clean_start=clean_start, properties=properties)
        sock = client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):  # send small messages without delay
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        """Write a message to the socket and return its packet id, for the `PublishAck` if `qos` is 1.

        `expiry_s` is the message expiry (MQTT 5 only); None: none.

        Raises:
            BrokerError: the connection has ended.
        """
        properties = None
        if self.protocol == "5" and expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = expiry_s
        sent = self._client.publish(topic, payload, qos, retain, properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerError(self._ended or f"the message to {topic} could not be sent ({sent.rc.name})")
        return sent.mid

    def ping(self) -> None:
        """Send PINGREQ before the next message. Does nothing on an ended connection."""
        self._client._send_pingreq()  # paho has no public call for it

    def is_congested(self) -> bool:
        """Whether bytes wait because the network does not accept them."""
        return self._client.want_write()

    def poll(self, timeout_s: float, wakeup: WakeupPipe | None = None) -> None:
        """Send and receive; wait at most `timeout_s` for the network or for `wakeup`.

        Raises:
            BrokerError: the connection has ended.
        """
        client, sock = self._client, self._client.socket()
        if sock is None:
            raise BrokerError(self._ended or "the connection was lost")
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0  # unknown to select
        readers: list[Any] = [sock] if wakeup is None else [sock, wakeup]
        writers = [sock] if client.want_write() else []
        readable, writable, _ = select.select(readers, writers, [], 0.0 if decrypted else max(timeout_s, 0.0))
        if wakeup is not None and wakeup in readable:
            wakeup.drain()
        codes = [client.loop_read()] if sock in readable or decrypted else []
        if sock in writable:
            codes.append(client.loop_write())
        codes.append(client.loop_misc())
        if not self._ended and any(code != MQTTErrorCode.MQTT_ERR_SUCCESS for code in codes):
            self._ended = "the connection was lost"
        if self._ended:
            raise BrokerError(self._ended)

    def take_acks(self) -> list[PublishAck]:
        """Take the received acknowledgements."""
        taken, self._acks = self._acks, []
        return taken

    def take_messages(self) -> list[IncomingMessage]:
        """Take the received messages."""
        taken, self._messages = self._messages, []
        return taken

    def subscribe(self, topics: list[str], qos: int) -> None:
        """Subscribe, and wait for the confirmation of the broker.

        Raises:
            BrokerRefusedError: the broker refuses one of the topics.
            BrokerError: the connection has ended, or no answer came.
        """
        self._suback = None
        self._client.subscribe([(topic, qos) for topic in topics])
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + round(RESPONSE_TIMEOUT_S * 1e9)
        while self._suback is None:
            left_ns = deadline_ns - SYSTEM_CLOCK.monotonic_ns()
            if left_ns < 0:
                raise BrokerError("the broker does not answer SUBSCRIBE")
            self.poll(left_ns / 1e9)
        refused = [f"{topic} ({why})" for topic, why in zip(topics, self._suback, strict=False) if why]
        if refused:
            raise BrokerRefusedError(f"the broker denies reading {', '.join(refused)}; check its access rules")

    def unsubscribe(self, topics: list[str]) -> None:
        """Unsubscribe, without waiting for the answer."""
        self._client.unsubscribe(topics)

    def close(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the last will, and close."""
        with contextlib.suppress(OSError, ValueError):  # BrokerError included
            self._client.disconnect()
            deadline_ns = SYSTEM_CLOCK.monotonic_ns() + round(DISCONNECT_TIMEOUT_S * 1e9)
            while self._client.socket() is not None and (left_ns := deadline_ns - SYSTEM_CLOCK.monotonic_ns()) > 0:
                self.poll(left_ns / 1e9)
        self.abort()

    def abort(self) -> None:
        """Reset the connection immediately; the kernel discards all unsent bytes.

        Without the reset, TCP would deliver its buffer when the network returns, perhaps much too late. Bytes that the
        machine of the broker has received cannot be taken back.
        """
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with sock, contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, code: ReasonCode, properties: Properties | None) -> None:
        self.receive_max = int(getattr(properties, "ReceiveMaximum", self.receive_max))
        self.connack = (code.value, str(code))

    def _on_disconnect(self, _c: Any, _u: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        self.tls_alert = self._client.tls_alert
        ended = (
            f"ended the connection ({code})" if flags.is_disconnect_packet_from_server else "the connection was lost"
        )
        self._ended = self._ended or f"{self._endpoint}: {self._client.offence or ended}"

    def _on_publish(self, _c: Any, _u: Any, packet_id: int, code: ReasonCode, _properties: Any) -> None:
        refusal = str(code) if code.value >= FIRST_ERROR_CODE else ""
        self._acks.append(PublishAck(packet_id, refusal, unheard=code.value == NO_SUBSCRIBERS))

    def _on_subscribe(self, _c: Any, _u: Any, _packet_id: int, codes: list[ReasonCode], _properties: Any) -> None:
        self._suback = [str(code) if code.value >= FIRST_ERROR_CODE else "" for code in codes]

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # a foreign topic, which must not end the connection
            self._messages.append(IncomingMessage(message.topic, bytes(message.payload), message.retain))
