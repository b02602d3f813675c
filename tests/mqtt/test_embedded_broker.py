"""The embedded broker: start, connections, end."""

from __future__ import annotations

import pytest
from support.mqtt_brokers import answers, free_port

from edge.core.errors import BrokerError
from edge.mqtt.connection import connect
from edge.mqtt.embedded_broker import EmbeddedBroker


def test_broker_on_a_free_port() -> None:
    """It accepts connections when `start` returns, and none after `close`; closing twice does nothing."""
    with EmbeddedBroker() as broker:
        assert broker.port > 0
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        client, protocol = connect(broker.config, client_id="x")
        assert protocol == "3.1.1"
        client.close()
    broker.close()
    assert not answers(broker.port)


def test_port_in_use_is_a_clear_error() -> None:
    """It names the address."""
    port = free_port()
    with EmbeddedBroker(port), pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port}: .*does not start"):
        EmbeddedBroker(port).start()
