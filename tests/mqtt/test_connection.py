"""Detection of the MQTT version of a broker."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from support.mqtt_brokers import (
    AnyBroker,
    make_broker,
    needs_mosquitto,
)
from support.mqtt_doors import FRONT

from edge.core.config import MqttConfig
from edge.events.topics import Channel
from edge.mqtt.connection import connect


@pytest.fixture
def broker(stopped_broker: AnyBroker) -> AnyBroker:
    """A broker that is not started yet."""
    return stopped_broker


@pytest.mark.parametrize(
    ("kind", "spoken"), [pytest.param("mosquitto", "5", marks=needs_mosquitto), ("embedded", "3.1.1")]
)
def test_best_version_is_found_and_remembered(tmp_path: Path, kind: str, spoken: str) -> None:
    """Also if the broker does not answer version 5, as amqtt with a last will."""
    will = (FRONT.topic_for(Channel.STATUS), b"gone")
    with make_broker(kind, tmp_path) as broker:
        connection, first = connect(MqttConfig(url=broker.url), client_id="x", will=will)
        connection.close()
    assert (connection.protocol, first) == (spoken, spoken)


def test_unsupported_version_is_remembered() -> None:
    """The broker answers version 5 with the old code 1, and accepts 3.1.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[int] = []

        def answer() -> None:
            for _ in range(3):
                client, _ = server.accept()
                with client, contextlib.suppress(ConnectionResetError):
                    asked.append(client.recv(1024)[8])  # the version, after the fixed header and the name "MQTT"
                    client.sendall(b"\x20\x02\x00" + (b"\x01" if asked[-1] == 5 else b"\x00"))
                    client.recv(1024)

        broker = threading.Thread(target=answer)
        broker.start()
        config = MqttConfig(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        connection, first = connect(config, client_id="x")
        connection.abort()
        assert (asked, connection.protocol, first) == ([5, 4], "3.1.1", "3.1.1")
        connection, first = connect(config, client_id="x", first=first)
        connection.abort()
        broker.join(5)
        assert asked == [5, 4, 4]


def test_closed_connection_keeps_version_5_first() -> None:
    """A broker that is shutting down must not cost the door message expiry."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                server.accept()[0].close()
                client, _ = server.accept()
                with client:
                    client.recv(1024)
                    client.sendall(b"\x20\x02\x00\x00")
                    client.recv(1024)

        broker = threading.Thread(target=answer)
        broker.start()
        connection, first = connect(MqttConfig(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"), client_id="x")
        connection.abort()
        broker.join(5)
        assert (connection.protocol, first) == ("3.1.1", "5")
