"""Limits of received packets on every connection, against hostile brokers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.mqtt_brokers import announce, read_packet, wait_until

from edge.core.config import MqttConfig, OutboxConfig
from edge.core.errors import BrokerError
from edge.diagnostics.network_checks import check_broker
from edge.diagnostics.report import State
from edge.events.topics import Topics
from edge.mqtt.connection import connect
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox
from edge.updates.release_format import FILE_BYTES
from edge.updates.sources import MqttSource

FRONT = Topics("home", "front")
WELCOME = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}  # CONNACK
MAXIMUM_PACKET_SIZE = 0x27  # MQTT 5, 3.1.2.11.4


class HostileBroker:
    """Accepts every client, grants every subscription, and then sends a given packet.

    Attributes:
        connects: CONNECT packets of clients.
        cut: set when a client has closed its connection.
    """

    def __init__(self, protocol: str, sends: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._protocol = protocol
        self._sends = sends
        self.connects: list[bytes] = []
        self.cut = threading.Event()
        self.config = MqttConfig(url=f"mqtt://127.0.0.1:{self._server.getsockname()[1]}", protocol=protocol)  # type: ignore[arg-type]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, contextlib.suppress(OSError):
            self.connects.append(read_packet(stream)[1])
            client.sendall(WELCOME[self._protocol] + self._sends)
            while True:
                kind, body = read_packet(stream)
                if kind in (0x32, 0x33):  # PUBLISH, QoS 1: taken
                    size = int.from_bytes(body[:2], "big")
                    client.sendall(b"\x40\x02" + body[2 + size : 4 + size])
                elif kind >> 4 == 8:  # SUBSCRIBE: granted
                    properties = b"\x00" * (self._protocol == "5")
                    granted = body[:2] + properties + b"\x00"
                    client.sendall(b"\x90" + bytes([len(granted)]) + granted)
        self.cut.set()

    def announced(self) -> int | None:
        """The maximum packet size in the first CONNECT of MQTT 5; None: none."""
        body = self.connects[0]
        length, properties = body[10], body[11 : 11 + body[10]]
        assert length < 128
        while properties:
            if properties[0] == MAXIMUM_PACKET_SIZE:
                return int.from_bytes(properties[1:5], "big")
            properties = properties[5:]  # the only other one that we send is a number of four bytes, too
        return None

    def close(self) -> None:
        self._server.close()


def head_of(size: int) -> bytes:
    """The beginning of a message of `size` bytes, QoS 0; the rest is never sent."""
    length = bytearray()
    left = size
    while left or not length:
        length.append(left % 128 | (0x80 if left > 127 else 0))
        left //= 128
    return b"\x30" + bytes(length) + b"\x00\x01x"


def publisher(config: MqttConfig, folder: Path) -> Iterator[None]:
    with (
        Outbox(folder / "outbox.db", OutboxConfig(), announce=announce) as outbox,
        Publisher(config, FRONT, outbox, on_open_expired=lambda *_: None, backoff_s=(60.0, 60.0)),
    ):
        yield


def subscriber(config: MqttConfig, _: Path) -> Iterator[None]:
    with pytest.raises(BrokerError, match="200000000 bytes"), Subscriber(config) as listener:
        list(listener.messages(3.0))
    yield


def mirror(config: MqttConfig, _: Path) -> Iterator[None]:
    with (
        contextlib.closing(MqttSource(config, "home", "front-repo")) as source,
        pytest.raises(BrokerError, match="bytes"),
    ):
        source.wait(3.0, "1.root.json")
    yield


def bare(config: MqttConfig, _: Path) -> Iterator[None]:
    """Other clients, such as `edge check` and threshold sync, have the default limit."""
    connection, _protocol = connect(config, client_id="anybody")
    with pytest.raises(BrokerError, match="sent a packet of 200000000 bytes, more than"):  # noqa: PT012
        for _round in range(3):
            connection.poll(1.0)
    connection.abort()
    yield


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("use", [publisher, subscriber, mirror, bare])
def test_oversized_packet_ends_every_kind_of_connection(
    use: Callable[[MqttConfig, Path], Iterator[None]], protocol: str, tmp_path: Path
) -> None:
    """Every client closes the connection at the announced length, before it reads the 200 MB."""
    broker = HostileBroker(protocol, head_of(200_000_000))
    with contextlib.contextmanager(use)(broker.config, tmp_path), contextlib.closing(broker):
        assert broker.cut.wait(5.0), "the client waits for the rest"
        if protocol == "5":
            size = broker.announced()
            assert size is not None
            assert size <= FILE_BYTES + 64 * 1024


def test_messages_of_qos_2_end_the_connection(tmp_path: Path) -> None:
    """No client subscribes with QoS 2, and each message would stay in memory until the broker releases it."""
    unreleased = b"".join(b"\x34\x05\x00\x01x" + number.to_bytes(2, "big") for number in range(1, 3))
    broker = HostileBroker("3.1.1", unreleased)
    with contextlib.contextmanager(publisher)(broker.config, tmp_path), contextlib.closing(broker):
        assert broker.cut.wait(5.0), "the client keeps them"


def test_small_packet_over_3_1_1_is_accepted(tmp_path: Path) -> None:
    """Up to 64 KiB: the embedded broker sends retained messages of others to a door."""
    broker = HostileBroker("3.1.1", b"\x30\xff\xff\x02\x00\x01x" + b"\x00" * 49_148)
    with contextlib.contextmanager(publisher)(broker.config, tmp_path), contextlib.closing(broker):
        assert not broker.cut.wait(0.3)


def test_door_announces_four_kibibytes(tmp_path: Path) -> None:
    """To an MQTT 5 broker; no answer to a door is longer."""
    broker = HostileBroker("5", b"")
    with contextlib.contextmanager(publisher)(broker.config, tmp_path), contextlib.closing(broker):
        wait_until(lambda: bool(broker.connects), "connected")
        assert broker.announced() == 4096


def test_check_announces_a_limit() -> None:
    """`edge check` connects like every client."""
    broker = HostileBroker("5", b"")
    with contextlib.closing(broker):
        assert check_broker(broker.config).state is State.OK
        assert broker.announced() == 4096
