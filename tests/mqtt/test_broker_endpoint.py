"""Address and login of the broker in [mqtt]; `test_broker_access.py` tests the shipped broker."""

from __future__ import annotations

import pytest

from edge.core.config import MqttConfig
from edge.core.errors import ConfigError
from edge.mqtt.broker_endpoint import resolve_endpoint


@pytest.mark.parametrize(
    ("url", "host", "port", "text"),
    [
        ("mqtt://localhost", "localhost", 1883, "mqtt://localhost:1883"),
        ("mqtts://broker.home", "broker.home", 8883, "mqtts://broker.home:8883"),
        ("mqtt://127.0.0.1:99", "127.0.0.1", 99, "mqtt://127.0.0.1:99"),
        ("mqtt://[::1]:99/", "::1", 99, "mqtt://[::1]:99"),
    ],
)
def test_address_with_its_default_port(url: str, host: str, port: int, text: str) -> None:
    endpoint = resolve_endpoint(MqttConfig(url=url))
    assert (endpoint.host, endpoint.port, str(endpoint)) == (host, port, text)
    assert (endpoint.tls is not None) == url.startswith("mqtts")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"username": "front", "password_file": "/no/such/file"}, "password_file.*cannot be read"),
        ({"username": "front", "password_file": "/dev/null"}, "first line.*is empty"),
        ({"password_file": "/dev/null"}, "set without username"),
        ({"url": "mqtts://host", "ca_file": "/no/such/file"}, "ca_file.*cannot be read"),
        ({"url": "mqtts://host", "ca_file": "/dev/null"}, "ca_file.*no PEM certificate"),
        ({"url": "mqtt://front:hunter2@host"}, "password_file instead"),
        ({"url": "mqtt://"}, "not of the form"),
        ({"url": "mqtt://host:99999"}, "not of the form"),
        ({"url": "mqtt://host/path"}, "not of the form"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, str], complaint: str) -> None:
    """One clear error without the password."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        resolve_endpoint(MqttConfig(**changes))  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
