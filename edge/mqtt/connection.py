"""One connection to an MQTT broker, from CONNECT to its end.

A connection never reconnects and never sends anything twice: whoever needs another one makes another one. So there is
exactly one owner of re-sending, and nothing that waited in an old connection can come out of a new one. It has no
thread of its own: its owner calls `poll`.
"""

from __future__ import annotations

import contextlib
import time

from edge.core.errors import BrokerError, BrokerRefusedError
from edge.mqtt.broker_endpoint import Endpoint
from edge.mqtt.messages import IncomingMessage, OutgoingMessage, Protocol, PublishAck
from edge.mqtt.paho_client import (
    RESPONSE_TIMEOUT_S,
    BoundedClient,
    CallbackState,
    connect_client,
    disconnect_client,
    poll_client,
    send,
)
from edge.mqtt.wakeup_pipe import WakeupPipe

DISCONNECT_TIMEOUT_S = 0.5  # how long the broker may take to close after DISCONNECT


class Connection:
    """A connection to a broker. Not safe for several threads: its owner alone calls it.

    Attributes:
        protocol: what is spoken.
    """

    def __init__(self, client: BoundedClient, protocol: Protocol, inbox: CallbackState) -> None:
        self._client = client
        self._inbox = inbox
        self.protocol = protocol

    @property
    def receive_max(self) -> int:
        """How many messages of QoS 1 the broker lets us have under way."""
        return self._inbox.receive_max

    @property
    def connack(self) -> tuple[int, str] | None:
        """The broker's answer to CONNECT, an MQTT 5 reason code (0: accepted) and its text; None before it is there."""
        return self._inbox.connack

    @property
    def tls_alert(self) -> str:
        """How the broker broke off TLS, in OpenSSL's words; "" if it did not."""
        return self._inbox.alert

    def publish(self, message: OutgoingMessage) -> int:
        """Hand a message to the socket; the number returned comes back in a `PublishAck` if its QoS is 1.

        Raises:
            BrokerError: the connection has ended.
        """
        return send(self._client, self.protocol, self._inbox, message)

    def ping(self) -> None:
        """Send the broker something to answer, ahead of what is published next. Does nothing on an ended connection."""
        self._client.ping()

    def is_congested(self) -> bool:
        """Whether bytes wait because the network does not take them."""
        return self._client.want_write()

    def poll(self, timeout_s: float, waker: WakeupPipe | None = None) -> None:
        """Send and receive what is possible, waiting for something to do at most `timeout_s`.

        Raises:
            BrokerError: the connection has ended.
        """
        poll_client(self._client, self._inbox, timeout_s, waker)
        if self._inbox.ended:
            raise BrokerError(self._inbox.ended)

    def take_acks(self) -> list[PublishAck]:
        """Take the receipts that have come in."""
        taken = list(self._inbox.receipts)
        self._inbox.receipts.clear()
        return taken

    def messages(self) -> list[IncomingMessage]:
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
        deadline = time.monotonic() + RESPONSE_TIMEOUT_S
        while self._inbox.suback is None:
            if time.monotonic() > deadline:
                raise BrokerError("the broker does not answer to SUBSCRIBE")
            self.poll(deadline - time.monotonic())
        refused = [f"{topic} ({why})" for topic, why in zip(topics, self._inbox.suback, strict=False) if why]
        if refused:
            raise BrokerRefusedError(f"the broker does not let us read {', '.join(refused)}: check its access rules")

    def unsubscribe(self, topics: list[str]) -> None:
        """Hear no more of these topics; not waited for."""
        self._client.unsubscribe(topics)

    def close(self) -> None:
        """Say goodbye, so that the last will is not sent, and close."""
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
            deadline = time.monotonic() + DISCONNECT_TIMEOUT_S
            while self._client.socket() is not None and time.monotonic() < deadline:
                poll_client(self._client, self._inbox, deadline - time.monotonic(), None)
        self.abort()

    def abort(self) -> None:
        """Cut the connection at once: what this machine still holds is thrown away, also by the kernel.

        Without the reset, TCP would go on delivering what is in its buffer when the network comes back, perhaps long
        after it mattered. What the broker's machine holds already is out of reach.
        """
        disconnect_client(self._client)


def open_connection(
    endpoint: Endpoint,
    protocol: Protocol,
    *,
    client_id: str,
    keepalive_s: int,
    will: OutgoingMessage | None = None,
    max_packet_bytes: int,
    session_s: int | None = None,
) -> Connection:
    """Reach the broker and send CONNECT; the answer is still to come, and `poll` brings it.

    Raises:
        ssl.SSLError: TLS fails.
        OSError, ValueError: the host is not found or does not answer.
    """
    inbox = CallbackState()
    client = connect_client(
        endpoint,
        protocol,
        inbox,
        client_id=client_id,
        keepalive_s=keepalive_s,
        will=will,
        max_packet_bytes=max_packet_bytes,
        session_s=session_s,
    )
    return Connection(client, protocol, inbox)
