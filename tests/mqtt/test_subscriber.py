"""The subscriber: valid and invalid messages, ends of the connection, and errors."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.broker_site import MOSQUITTO_PASSWD
from support.mqtt_brokers import (
    DEADLINE_S,
    AnyBroker,
    Mosquitto,
    an_event,
    config_for,
    free_port,
    needs_mosquitto,
    wait_until,
)

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, BrokerRefusedError
from edge.events.schema import encode
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import connect
from edge.mqtt.subscriber import Message, Subscriber


def say(config: MqttConfig, *messages: tuple[str, bytes]) -> None:
    """Publish, and return when the broker has acknowledged everything."""
    connection, _ = connect(config, client_id="speaker")
    waiting = {connection.publish(topic, payload, qos=1) for topic, payload in messages}
    while waiting:
        connection.poll(1.0)
        waiting -= {receipt.packet_id for receipt in connection.take_acks()}
    connection.close()


def test_malformed_messages_are_reported(broker: AnyBroker) -> None:
    """They do not end the subscription."""
    config = config_for(broker)
    events = Topics("home", "front").topic_for(Channel.EVENTS)
    event = an_event()
    with Subscriber(config) as subscriber:
        say(config, (events, b"\xff{"), (events, b""), (f"{events}/deeper", b"x"), (events, encode(event)))
        messages = subscriber.messages(DEADLINE_S)
        first, second, third = (next(messages) for _ in range(3))
    assert [(message.record, bool(message.problem)) for message in (first, second)] == [(None, True)] * 2
    assert (third.record, third.problem, third.payload) == (event, "", encode(event))
    assert (third.topic, third.door, third.channel) == (events, Topics("home", "front"), Channel.EVENTS)


def test_only_subscribed_doors_and_channels(broker: AnyBroker) -> None:
    """One site, any door, events only."""
    config = config_for(broker)
    topics = [Topics(site, door).topic_for(channel) for site in "ab" for door in "xy" for channel in Channel]
    with Subscriber(config, Topics("a", "+"), [Channel.EVENTS]) as subscriber:
        say(config, *((topic, b"{}") for topic in topics))
        messages = subscriber.messages(DEADLINE_S)
        assert [next(messages).topic for _ in range(2)] == ["threshold/a/x/events", "threshold/a/y/events"]


@needs_mosquitto
def test_received_messages_before_the_error(tmp_path: Path) -> None:
    """Also those that arrived together with the end of the connection."""
    with Mosquitto(tmp_path) as broker:
        config = config_for(broker)
        with Subscriber(config, qos=0) as subscriber:
            say(config, *((Topics("a", "x").topic_for(Channel.EVENTS), b"{}") for _ in range(50)))
            broker.close()
            heard: list[Message] = []
            with pytest.raises(BrokerError):
                heard.extend(subscriber.messages(DEADLINE_S))
    assert len(heard) == 50


def test_deadline_without_messages(broker: AnyBroker) -> None:
    with Subscriber(config_for(broker)) as subscriber:
        assert list(subscriber.messages(0.05)) == []


def test_stop_from_another_thread(broker: AnyBroker) -> None:
    """Immediately, not at the next message."""
    with Subscriber(config_for(broker)) as subscriber:
        timer = threading.Timer(0.05, subscriber.stop)
        timer.start()
        assert list(subscriber.messages()) == []
        timer.join()


def test_broker_that_stops_is_a_clear_error(broker: AnyBroker) -> None:
    with Subscriber(config_for(broker)) as subscriber:
        broker.close()
        with pytest.raises(BrokerError, match=r"lost|ended the connection"):
            list(subscriber.messages(DEADLINE_S))


def test_no_broker_is_a_clear_error() -> None:
    """It contains the address."""
    port = free_port()
    with (
        pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port}: cannot be reached .*is the broker running"),
        Subscriber(MqttConfig(url=f"mqtt://127.0.0.1:{port}")),
    ):
        pass


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1", "auto"])
def test_refused_login_is_a_clear_error(tmp_path: Path, protocol: str) -> None:
    """In every MQTT version."""
    with (
        Mosquitto(tmp_path, conf="allow_anonymous false\n") as broker,
        pytest.raises(BrokerRefusedError, match=r"without a user name.*password_file"),
        Subscriber(config_for(broker, protocol=protocol)),
    ):
        pass


def test_refused_subscription_is_a_clear_error() -> None:
    """It must not look like a quiet door."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(ConnectionResetError):
                client.recv(1024)
                client.sendall(b"\x20\x02\x00\x00")  # CONNACK, welcome
                number = client.recv(1024)[2:4]
                client.sendall(b"\x90\x03" + number + b"\x80")  # SUBACK, refused
                client.recv(1024)

        broker = threading.Thread(target=answer)
        broker.start()
        config = MqttConfig(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}", protocol="3.1.1")
        with (
            pytest.raises(BrokerRefusedError, match="denies reading threshold"),
            Subscriber(config, channels=[Channel.EVENTS]),
        ):
            pass
        broker.join(5)


@needs_mosquitto
def test_events_command_with_login_options(tmp_path: Path) -> None:
    """`edge events` logs in by options, and an error of the broker names them."""
    subprocess.run(
        [MOSQUITTO_PASSWD, "-b", "-c", tmp_path / "users", "desk", "open sesame"], check=True, capture_output=True
    )
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    with Mosquitto(tmp_path, conf=f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n") as broker:
        command = [sys.executable, "-m", "edge", "events", "--broker", broker.url]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "check --username and --password-file" in refused.stderr
        login = ["--username", "desk", "--password-file", str(secret)]
        with subprocess.Popen([*command, *login], stdout=subprocess.PIPE, text=True) as process:
            config = MqttConfig(url=broker.url, username="desk", password_file=str(secret))
            wait_until(lambda: _heard(process, config), "the event is received")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0


def _heard(process: subprocess.Popen[str], config: MqttConfig) -> bool:
    """Publish an event, and return whether the command prints it; it may not have subscribed yet."""
    say(config, (Topics("home", "front").topic_for(Channel.EVENTS), encode(an_event())))
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.2)[0])
