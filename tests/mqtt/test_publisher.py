"""The publisher with real brokers: order, at-least-once delivery, expiry and refusals."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.broker_site import MOSQUITTO_PASSWD
from support.mqtt_brokers import (
    DEADLINE_S,
    T0_NS,
    AnyBroker,
    Mosquitto,
    Relay,
    announce,
    config_for,
    free_port,
    needs_mosquitto,
    read_packet,
    wait_until,
)
from support.mqtt_doors import FRONT, a_door, a_report, an_open_command, fill, ids, listen, receive, until_now

from edge.core.config import MqttConfig, OutboxConfig
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.events.schema import (
    VERSION,
    Challenge,
    DoorConnection,
    Event,
    OpenCommand,
    Status,
)
from edge.events.topics import Channel
from edge.liveness.prompts import ChallengeFailure, ChallengeState
from edge.mqtt.connection import ConnectionStatus, connect
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox


@pytest.fixture
def broker(stopped_broker: AnyBroker) -> AnyBroker:
    """A broker that is not started yet."""
    return stopped_broker


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db", OutboxConfig(), announce=announce) as made:
        yield made


def test_events_arrive_in_order_and_once(broker: AnyBroker, outbox: Outbox) -> None:
    """Waiting and new events, each with its number and its publication time."""
    broker.start()
    config = config_for(broker)
    with listen(config, Channel.EVENTS) as subscriber:
        sent = fill(outbox, 100)
        with a_door(config, outbox) as door:
            door.online()
            assert door.publisher.state.protocol == ("5" if isinstance(broker, Mosquitto) else "3.1.1")
            sent += fill(outbox, 100)
            received = receive(subscriber, 200)
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
        events = [message.record for message in received if isinstance(message.record, Event)]
        assert [event.id for event in events] == sent
        assert [event.seq for event in events] == list(range(1, 201))
        assert all(event.published_at is not None for event in events)
        assert not any(message.retained for message in received)
        assert until_now(subscriber, config) == []


def test_broker_absent_at_the_start(broker: AnyBroker, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """The door queues events meanwhile, logs once that the broker is unreachable, and sends all events later."""
    caplog.set_level(logging.INFO, logger="edge")
    with Relay(broker.port) as relay, a_door(config_for(broker, relay.port), outbox) as door:
        relay.close()
        sent = fill(outbox, 50)
        wait_until(lambda: door.publisher.state.status is ConnectionStatus.UNREACHABLE, "noticed")
        broker.start()
        with listen(config_for(broker), Channel.EVENTS) as subscriber:
            relay.start()
            assert ids(receive(subscriber, 50)) == sent
        wait_until(lambda: outbox.depth() == 0, "all acknowledged")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert str(relay.port) in warnings[0]


def test_killed_and_restarted_broker_gets_every_event(broker: AnyBroker, outbox: Outbox) -> None:
    """The network breaks within a message, and the broker is killed and restarted: copies have the same id."""
    broker.start()
    with Relay(broker.port) as relay, a_door(config_for(broker, relay.port), outbox) as door:
        with listen(config_for(broker), Channel.EVENTS) as subscriber:
            door.online()
            relay.cut_after = 20_000
            sent = fill(outbox, 100)
            wait_until(lambda: relay.cut_after is None, "cut")
            relay.close()
            wait_until(lambda: door.publisher.state.status is not ConnectionStatus.ONLINE, "noticed")
            taken = outbox.acknowledged_seq()  # a killed broker may not have delivered these
            before = receive(subscriber, taken) if taken else []
            before += until_now(subscriber, config_for(broker))
        broker.close()
        sent += fill(outbox, 50)
        broker.start()
        with listen(config_for(broker), Channel.EVENTS) as subscriber:
            relay.start()
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
            after = until_now(subscriber, config_for(broker))
    assert 0 < len(before) < 150
    assert list(dict.fromkeys(ids(before) + ids(after))) == sent
    records = [message.record for message in before + after]
    assert len({(record.id, record.seq) for record in records if isinstance(record, Event)}) == 150


def test_event_leaves_the_outbox_after_acknowledgement(broker: AnyBroker, outbox: Outbox) -> None:
    """Sending it is not enough."""
    broker.start()
    with Relay(broker.port) as relay, a_door(config_for(broker, relay.port), outbox) as door:
        door.online()
        relay.swallow = True
        (sent,) = fill(outbox, 1)
        with listen(config_for(broker), Channel.EVENTS) as subscriber:
            assert until_now(subscriber, config_for(broker)) == []
            assert outbox.depth() == 1
            relay.swallow = False
            relay.cut()
            assert ids(receive(subscriber, 1)) == [sent]


def test_acknowledged_events_are_not_sent_after_a_restart(broker: AnyBroker, outbox: Outbox) -> None:
    """A new publisher continues after the last one."""
    broker.start()
    config = config_for(broker)
    fill(outbox, 30)
    with a_door(config, outbox):
        wait_until(lambda: outbox.depth() == 0, "all acknowledged")
    with listen(config, Channel.EVENTS) as subscriber, a_door(config, outbox):
        (sent,) = fill(outbox, 1)
        assert ids(receive(subscriber, 1)) == [sent]


def test_closing_sends_waiting_events_and_offline(broker: AnyBroker, outbox: Outbox) -> None:
    """In bounded time, without the last will; a second close does nothing."""
    broker.start()
    config = config_for(broker)
    with listen(config, Channel.EVENTS, Channel.STATUS) as subscriber:
        with a_door(config, outbox) as door:
            door.online()
            sent = fill(outbox, 50)
            door.publisher.close(timeout_s=DEADLINE_S)
        assert door.publisher.state.status is ConnectionStatus.CLOSED
        # amqtt acknowledges before it delivers, so a marker of another client may overtake the last events.
        received = receive(subscriber, 52) + until_now(subscriber, config)
    assert ids(received) == sent
    statuses = [message.record for message in received if isinstance(message.record, Status)]
    assert [(status.status, status.reason) for status in statuses] == [("online", "connected"), ("offline", "stopped")]


def test_status_is_retained(broker: AnyBroker, outbox: Outbox) -> None:
    """Later subscribers receive whether the door is online."""
    broker.start()
    config = config_for(broker)
    for expected, running in ((DoorConnection.ONLINE, True), (DoorConnection.OFFLINE, False)):
        with contextlib.ExitStack() as stack:
            door = stack.enter_context(a_door(config, outbox))
            door.online()
            fill(outbox, 1)  # acknowledged after the status, which was sent before it
            wait_until(lambda: outbox.depth() == 0, "acknowledged")
            if not running:
                stack.close()
            with listen(config, Channel.STATUS) as subscriber:
                (message,) = receive(subscriber, 1)
            assert isinstance(message.record, Status)
            assert (message.record.status, message.retained) == (expected, True)


def test_last_will_publishes_offline(broker: AnyBroker, outbox: Outbox) -> None:
    """When the connection breaks without DISCONNECT."""
    broker.start()
    with (
        listen(config_for(broker), Channel.STATUS) as subscriber,
        Relay(broker.port) as relay,
        a_door(config_for(broker, relay.port), outbox) as door,
    ):
        door.online()
        receive(subscriber, 1)
        relay.close()
        (message,) = receive(subscriber, 1)
        assert isinstance(message.record, Status)
        assert (message.record.status, message.record.since) == (DoorConnection.OFFLINE, None)


def test_fresh_opening_is_sent_and_not_retained(broker: AnyBroker, outbox: Outbox) -> None:
    """A subscribed lock receives it; a later one does not."""
    broker.start()
    config = config_for(broker)
    opening = an_open_command()
    with listen(config, Channel.OPEN) as lock, a_door(config, outbox) as door:
        door.online()
        door.publisher.open(opening, time.monotonic_ns())
        (message,) = receive(lock, 1)
        assert message.record == opening
        with listen(config, Channel.OPEN) as late_lock:
            assert until_now(late_lock, config) == []
    assert door.expired == []


def test_late_opening_is_dropped_and_reported(broker: AnyBroker, outbox: Outbox) -> None:
    """Older than the limit since the capture: never sent."""
    broker.start()
    config = config_for(broker)
    with listen(config, Channel.OPEN) as lock, a_door(config, outbox) as door:
        door.online()
        late = an_open_command()
        door.publisher.open(late, time.monotonic_ns() - 3_000_000_001)
        wait_until(lambda: bool(door.expired), "reported")
        assert until_now(lock, config) == []
    ((message, reason),) = door.expired
    assert message == late
    assert reason is Reason.OPEN_TOO_OLD


def test_opening_without_a_broker_expires(outbox: Outbox) -> None:
    opening = an_open_command()
    config = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}", open_max_age_s=0.2)
    with a_door(config, outbox) as door:
        door.publisher.open(opening, time.monotonic_ns())
        wait_until(lambda: bool(door.expired), "reported")
    ((message, reason),) = door.expired
    assert message == opening
    assert reason is Reason.OPEN_TOO_OLD


def test_opening_shortens_the_wait_to_reconnect(broker: AnyBroker, outbox: Outbox) -> None:
    """The next attempt would be a minute away, but a visitor is in front of the door."""
    broker.start()
    config = config_for(broker)
    with listen(config, Channel.OPEN) as lock, Relay(broker.port) as relay:
        relay.close()
        with a_door(config_for(broker, relay.port), outbox, backoff_s=(60.0, 60.0)) as door:
            wait_until(lambda: door.publisher.state.status is ConnectionStatus.UNREACHABLE, "tried once")
            opening = an_open_command()
            door.publisher.open(opening, time.monotonic_ns())
            relay.start()
            (message,) = receive(lock, 1)
            assert message.record == opening
    assert door.expired == []


def test_closing_does_not_wait_for_the_next_attempt(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """However far away it is."""
    with a_door(MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"), outbox, backoff_s=(60.0, 60.0)) as door:
        wait_until(lambda: door.publisher.state.status is ConnectionStatus.UNREACHABLE, "tried once")
        door.publisher.close(timeout_s=DEADLINE_S)
    assert "did not end in time" not in caplog.text


def test_open_command_is_never_sent_twice(broker: AnyBroker, outbox: Outbox) -> None:
    """The network swallows it and breaks: the event arrives late, the open command never, and an event reports that."""
    broker.start()
    config = config_for(broker)
    with (
        listen(config, Channel.EVENTS, Channel.OPEN) as lock,
        Relay(broker.port) as relay,
        a_door(config_for(broker, relay.port), outbox) as door,
    ):
        door.online()
        relay.swallow = True
        (sent,) = fill(outbox, 1)
        door.publisher.open(an_open_command(), time.monotonic_ns())
        wait_until(lambda: b"/open" in relay.swallowed, "dropped by the relay")
        relay.swallow = False
        relay.cut()
        wait_until(lambda: outbox.depth() == 0, "sent again")
        received = until_now(lock, config)
    assert [message.channel for message in received] == [Channel.EVENTS]
    assert ids(received) == [sent]
    assert [reason for _, reason in door.expired] == [Reason.CONNECTION_BROKE]


def test_unacknowledged_opening_cuts_the_connection(broker: AnyBroker, outbox: Outbox) -> None:
    """A stalled network could deliver the buffers of TCP later, so they are discarded in time."""
    broker.start()
    config = config_for(broker)
    with (
        listen(config, Channel.OPEN) as lock,
        Relay(broker.port) as relay,
        a_door(config_for(broker, relay.port, open_max_age_s=0.1), outbox) as door,
    ):
        door.online()
        relay.swallow = True
        door.publisher.open(an_open_command(), time.monotonic_ns())
        wait_until(lambda: bool(door.expired), "reported")
        relay.swallow = False
        door.online()
        assert until_now(lock, config) == []
    assert len(door.expired) == 1


@needs_mosquitto
def test_challenge_wakes_an_idle_publisher(tmp_path: Path, outbox: Outbox) -> None:
    """The publisher waits up to a second; a challenge must not be late."""
    with (
        Mosquitto(tmp_path) as broker,
        listen(config_for(broker), Channel.CHALLENGE) as screen,
        a_door(config_for(broker), outbox) as door,
    ):
        door.online()
        fill(outbox, 1)
        wait_until(lambda: outbox.depth() == 0, "acknowledged, and the publisher waits")
        message = Challenge(
            v=VERSION,
            door="front",
            id="c",
            at=format_unix_ns(T0_NS),
            expires_at=format_unix_ns(T0_NS),
            ask=None,
            state=ChallengeState.ASKED,
            step=1,
            steps=1,
            reason=ChallengeFailure.NONE,
        )
        door.publisher.challenge(message, time.monotonic_ns() + 800_000_000)
        assert receive(screen, 1)[0].record == message


@needs_mosquitto
@pytest.mark.parametrize(("protocol", "reports"), [("5", 1), ("3.1.1", 0)])
def test_opening_without_a_subscriber(tmp_path: Path, outbox: Outbox, protocol: str, reports: int) -> None:
    """An MQTT 5 broker reports it: it stays a problem until a lock receives an open command, and it has not expired."""
    unheard: list[OpenCommand] = []
    with Mosquitto(tmp_path) as broker:
        config = config_for(broker, protocol=protocol)
        door = Publisher(
            config,
            FRONT,
            outbox,
            on_open_expired=lambda _, reason, detail: pytest.fail(f"{reason} {detail}"),
            on_open_unheard=unheard.append,
        )
        with door:
            wait_until(lambda: door.state.status is ConnectionStatus.ONLINE, "online")
            opening = an_open_command()
            door.open(opening, time.monotonic_ns())
            for _event in range(2):  # at the latest the second one goes out, and is acknowledged, after the opening
                fill(outbox, 1)
                wait_until(lambda: outbox.depth() == 0, "acknowledged")
            assert unheard == [opening] * reports
            assert ("no client subscribes to threshold/home/front/open" in door.problem()) is bool(reports)
            with listen(config, Channel.OPEN) as lock:
                door.open(an_open_command(), time.monotonic_ns())
                receive(lock, 1)
                wait_until(lambda: not door.problem(), "the problem is over")
            assert len(unheard) == reports


@needs_mosquitto
def test_opening_has_a_message_expiry(tmp_path: Path, outbox: Outbox) -> None:
    """With MQTT 5, its remaining time in whole seconds."""
    with Mosquitto(tmp_path) as broker, a_door(config_for(broker), outbox) as door:
        lock = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        subscribed, got = threading.Event(), threading.Event()
        expiry: list[int] = []

        def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            expiry.append(message.properties.MessageExpiryInterval)  # type: ignore[union-attr]
            got.set()

        lock.on_message = on_message
        lock.on_subscribe = lambda *_: subscribed.set()
        lock.connect("127.0.0.1", broker.port)
        lock.loop_start()
        lock.subscribe(FRONT.topic_for(Channel.OPEN), 1)
        assert subscribed.wait(5)
        door.online()
        door.publisher.open(an_open_command(), time.monotonic_ns() - 500_000_000)
        assert got.wait(5)
        lock.disconnect()
        lock.loop_stop()
    assert expiry == [2]


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1", "auto"])
def test_refused_login_never_counts_as_connected(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    """Logged once with address and user; the door connects when the password is corrected."""
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run([MOSQUITTO_PASSWD, "-b", "-c", str(users), "front", "right"], check=True)
    users.chmod(0o644)
    password.write_text("wrong\n")
    rules = f"allow_anonymous false\npassword_file {users}\n"
    with Mosquitto(tmp_path, conf=rules) as broker:
        config = config_for(broker, username="front", password_file=str(password), protocol=protocol)
        with a_door(config, outbox) as door:
            fill(outbox, 1)
            wait_until(lambda: caplog.text.count("refuses") >= 1, "logged")
            state = door.publisher.state
            assert state.status in (ConnectionStatus.REFUSED, ConnectionStatus.CONNECTING)
            door.publisher.open(an_open_command(), time.monotonic_ns())
            assert len(door.expired) == 1
            assert outbox.depth() == 1
            with pytest.raises(BrokerRefusedError, match="user 'front'"):
                connect(config, client_id="another")
            password.write_text("right\n")
            door.online()
            wait_until(lambda: outbox.depth() == 0, "sent")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert all(part in warnings[0] for part in (str(broker.port), "user 'front'", "password_file"))


@needs_mosquitto
def test_refused_events_count_as_refused(tmp_path: Path, outbox: Outbox) -> None:
    """The login is accepted, the events are not: they stay in the outbox."""
    rules = tmp_path / "acl"
    rules.write_text("topic write threshold/+/+/status\n")
    rules.chmod(0o644)
    with Mosquitto(tmp_path, conf=f"allow_anonymous true\nacl_file {rules}\n") as broker:
        fill(outbox, 1)
        with a_door(config_for(broker), outbox) as door:
            wait_until(lambda: door.publisher.state.status is ConnectionStatus.REFUSED, "refused")
            assert "access rules" in door.publisher.state.reason
            assert outbox.depth() == 1


@needs_mosquitto
def test_broker_with_a_receive_maximum_of_one(tmp_path: Path, outbox: Outbox) -> None:
    """Events are sent one by one, or the broker would end the connection."""
    with Mosquitto(tmp_path, conf="allow_anonymous true\nmax_inflight_messages 1\n") as broker:
        config = config_for(broker)
        sent = fill(outbox, 30)
        with listen(config, Channel.EVENTS, Channel.OPEN) as subscriber, a_door(config, outbox) as door:
            door.online()
            door.publisher.open(an_open_command(), time.monotonic_ns())
            received = receive(subscriber, 31)
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
        assert ids(received) == sent
        assert door.expired == []


def test_receive_maximum_is_never_exceeded(outbox: Outbox) -> None:
    """A broker that allows two and acknowledges one only after a pause never receives a third."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        most = 0

        def answer() -> None:
            nonlocal most
            client, _ = server.accept()
            with client, contextlib.suppress(OSError), client.makefile("rb") as stream:
                read_packet(stream)
                client.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x02")  # CONNACK: welcome, receive maximum 2
                waiting: list[bytes] = []
                while True:
                    if waiting and not select.select([client], [], [], 0.02)[0]:
                        client.sendall(b"\x40\x02" + waiting.pop(0))  # PUBACK
                        continue
                    kind, body = read_packet(stream)
                    if kind >> 4 == 12:  # PINGREQ
                        client.sendall(b"\xd0\x00")
                        continue
                    if kind >> 4 != 3:  # no PUBLISH: it is closing
                        return
                    waiting.append(body[2 + int.from_bytes(body[:2], "big") :][:2])
                    most = max(most, len(waiting))

        broker = threading.Thread(target=answer)
        broker.start()
        fill(outbox, 8)
        with a_door(MqttConfig(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}", protocol="5"), outbox) as door:
            door.online()
            door.publisher.open(an_open_command(), time.monotonic_ns())
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
        broker.join(5)
        assert 1 <= most <= 2  # one place is kept for an opening
        assert door.expired == []


@pytest.mark.parametrize("receive_max", [1, 2, 4])
def test_opening_overtakes_a_backlog(outbox: Outbox, receive_max: int) -> None:
    """With a small receive maximum one place stays free for an open command, which does not expire."""
    order: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError), client.makefile("rb") as stream:
                read_packet(stream)
                client.sendall(b"\x20\x06\x00\x00\x03\x21\x00" + bytes([receive_max]))  # CONNACK
                while True:
                    kind, body = read_packet(stream)
                    if kind >> 4 == 12:  # PINGREQ
                        client.sendall(b"\xd0\x00")
                    if kind >> 4 != 3:
                        continue
                    size = int.from_bytes(body[:2], "big")
                    order.append(body[2 : 2 + size].decode().rpartition("/")[2])
                    if order.count("events") == 3 and "open" not in order:
                        door.publisher.open(an_open_command(), time.monotonic_ns())
                    client.sendall(b"\x40\x02" + body[2 + size : 4 + size])  # PUBACK

        broker = threading.Thread(target=answer)
        fill(outbox, 40)
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        with a_door(MqttConfig(url=url, protocol="5"), outbox) as door:
            broker.start()
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
        broker.join(5)
    assert order.count("open") == 1
    assert order[: order.index("open")].count("events") <= 3 + receive_max
    assert door.expired == []


def test_latest_health_is_retained(broker: AnyBroker, outbox: Outbox) -> None:
    """Later subscribers receive the last report."""
    broker.start()
    config = config_for(broker)
    with a_door(config, outbox) as door:
        door.online()
        for number in (1, 2):
            door.publisher.health(a_report(number))
        fill(outbox, 1)
        wait_until(lambda: outbox.depth() == 0, "acknowledged, and so the reports before it")
        with Subscriber(config, FRONT, [Channel.HEALTH]) as subscriber:
            (message,) = receive(subscriber, 1)
    assert message.retained
    assert message.record == a_report(2)


@needs_mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_is_verified(tmp_path: Path, outbox: Outbox) -> None:
    """A certificate of a known authority is accepted, others are refused with a remedy."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    rules = f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}\n"
    with Mosquitto(tmp_path, conf=rules) as broker:
        url = f"mqtts://localhost:{broker.port}"
        fill(outbox, 50)
        with a_door(MqttConfig(url=url, ca_file=str(cert)), outbox):
            wait_until(lambda: outbox.depth() == 0, "all acknowledged")
        with pytest.raises(BrokerRefusedError, match=r"not trusted.*ca_file"):
            connect(MqttConfig(url=url), client_id="x")
        with pytest.raises(BrokerError, match=r"closed the connection|did not answer|cannot be reached"):
            connect(MqttConfig(url=f"mqtt://localhost:{broker.port}", protocol="5"), client_id="x")


def test_unusable_settings_are_an_error_at_construction(outbox: Outbox) -> None:
    """Not later, in the thread."""
    with pytest.raises(ConfigError, match="not of the form"):
        Publisher(MqttConfig(url="mqtt://"), FRONT, outbox, on_open_expired=lambda *_: None)


@needs_mosquitto
def test_frozen_broker_delays_no_caller(tmp_path: Path, outbox: Outbox) -> None:
    """Appending, opening, reporting and closing stay quick while the broker does not answer."""
    with Mosquitto(tmp_path) as broker, a_door(config_for(broker), outbox) as door:
        door.online()
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            fill(outbox, 20)
            door.publisher.open(an_open_command(), time.monotonic_ns())
            door.publisher.health(a_report(1))
            door.publisher.close(timeout_s=1.2)
            assert door.publisher.state.status is ConnectionStatus.CLOSED
        finally:
            os.kill(broker.pid, signal.SIGCONT)
