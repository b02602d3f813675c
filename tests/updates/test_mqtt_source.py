"""Releases over a real broker: speed, number of doors, traffic, and foreign messages."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.mqtt_brokers import MOSQUITTO, Mosquitto, Relay, needs_mosquitto, wait_until
from support.release_signer import Door, ReleaseSigner, mqtt_source
from threshold_tools.release.transport import publish

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError
from edge.events.topics import repo_topic
from edge.mqtt.connection import connect
from edge.mqtt.embedded_broker import EmbeddedBroker
from edge.runtime.system_stats import memory_mb
from edge.updates.release_format import FILE_BYTES, TIMESTAMP
from edge.updates.sources import MqttSource

SITE = "test"
CONF = "allow_anonymous true\nmessage_size_limit 0\nmax_queued_messages 0\n"


@dataclass(frozen=True, slots=True)
class Setting:
    """A broker and a desktop that publishes to it."""

    port: int
    mqtt: MqttConfig
    desk: ReleaseSigner

    def publish(self, people: list[int], **changes: float) -> int:
        before = self.desk.files().keys() if self.desk.folder.exists() else set()
        number = self.desk.release(people, **changes).release  # type: ignore[arg-type]
        files = self.desk.repository().files()
        publish(self.mqtt, SITE, files, sorted(set(before) - {name for name, _ in files}))
        return number


@pytest.fixture(params=["5", "3.1.1"])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    with Mosquitto(tmp_path, conf=CONF) as broker:
        yield Setting(broker.port, MqttConfig(url=broker.url, protocol=request.param), ReleaseSigner(tmp_path / "desk"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Setting]:
    with Mosquitto(tmp_path, conf=CONF) as broker:
        yield Setting(broker.port, MqttConfig(url=broker.url), ReleaseSigner(tmp_path / "desk"))


def door_at(setting: Setting, state: Path, name: str = "front", mqtt: MqttConfig | None = None) -> Door:
    return Door(state, setting.desk.root, mqtt_source(mqtt or setting.mqtt, SITE, name), frame_s=0.03)


def settle(door: Door, release: int, deadline_s: float = 10.0) -> None:
    """Wait for a release."""
    wait_until(lambda: door.release == release, f"release {release}: {door.worker.status}", deadline_s)


def test_push_reaches_a_running_door(setting: Setting, tmp_path: Path) -> None:
    """Releases published before its start and while it runs."""
    setting.publish(list(range(50)))
    with door_at(setting, tmp_path / "state") as door:
        settle(door, 1)
        setting.publish(list(range(1, 50)))
        settle(door, 2)
        assert door.gallery is not None
        assert len(door.gallery.people) == 49
        assert not [news for news in door.news if news.refused]


def test_release_over_the_embedded_broker(tmp_path: Path) -> None:
    """Only for a door that connects later: amqtt loses connections if a door is subscribed while much is published."""
    with EmbeddedBroker() as broker:
        setting = Setting(broker.port, broker.config, ReleaseSigner(tmp_path / "desk"))
        setting.publish(list(range(50)))
        with door_at(setting, tmp_path / "state") as door:
            settle(door, 1)


def test_new_door_waits_for_the_first_release(setting: Setting, tmp_path: Path) -> None:
    with door_at(setting, tmp_path / "state") as door:
        wait_until(lambda: bool(door.news), "the door runs")
        setting.publish(list(range(5)))
        settle(door, 1)


def test_new_keys_reach_a_running_door(setting: Setting, tmp_path: Path) -> None:
    setting.publish(list(range(5)))
    with door_at(setting, tmp_path / "state") as door:
        settle(door, 1)
        setting.desk.rotate("timestamp")
        setting.desk.rotate("root")
        setting.publish(list(range(6)))
        settle(door, 2)


def test_superseded_files_are_cleared_from_the_broker(setting: Setting) -> None:
    """Later subscribers cannot receive the vector of a removed person."""
    setting.publish(list(range(50)))
    old = {name for name in setting.desk.files() if name.endswith(".piece")}
    setting.publish(list(range(1, 50)))
    gone = old - setting.desk.files().keys()
    assert gone
    source = mqtt_source(setting.mqtt, SITE, "late", answer_s=0.3)
    try:
        assert source.fetch(sorted(gone)) == {}
        assert source.fetch([TIMESTAMP]).keys() == {TIMESTAMP}
    finally:
        source.close()


@needs_mosquitto
def test_push_to_a_door_with_1000_people(mosquitto: Setting, tmp_path: Path) -> None:
    mosquitto.publish(list(range(1000)))
    with door_at(mosquitto, tmp_path / "state") as door:
        settle(door, 1)
        for turn, people in enumerate((range(1001), range(1, 1001)), start=2):
            release = mosquitto.desk.release(list(people), threshold_sq=1 - turn / 100)
            files = mosquitto.desk.repository().files()
            publish(mosquitto.mqtt, SITE, files, [])
            settle(door, release.release)


@needs_mosquitto
def test_one_new_person_of_10000_costs_little_traffic(mosquitto: Setting, tmp_path: Path) -> None:
    """Counted on the connection of the door, in both directions, with the overhead of MQTT."""
    with CountingRelay(mosquitto.port) as relay:
        mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{relay.port}")
        mosquitto.publish(list(range(10_000)))
        with door_at(mosquitto, tmp_path / "state", mqtt=mqtt) as door:
            settle(door, 1, 60)
            before = relay.passed
            mosquitto.publish([*range(5000), 99_999, *range(5000, 10_000)], threshold_sq=0.99)
            settle(door, 2, 30)
            cost = relay.passed - before
    print(f"one new hire at 10,000 people: {cost / 1024:.0f} KiB")
    assert cost <= 256 * 1024


class CountingRelay(Relay):
    """A relay that counts bytes."""

    passed = 0

    def _copy(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                self.passed += len(data)
        source.close()
        sink.close()


def flood(mqtt: MqttConfig, messages: list[tuple[str, bytes]]) -> None:
    """Publish hostile retained messages."""
    connection, _ = connect(mqtt, client_id="hostile")
    flying: set[int] = set()
    for topic, payload in messages:
        flying.add(connection.publish(topic, payload, qos=1, retain=True))
        while len(flying) > 10:
            connection.poll(10.0)
            flying -= {receipt.packet_id for receipt in connection.take_acks()}
    while flying:
        connection.poll(10.0)
        flying -= {receipt.packet_id for receipt in connection.take_acks()}
    connection.close()


@needs_mosquitto
def test_ten_thousand_foreign_messages_have_no_effect(mosquitto: Setting, tmp_path: Path) -> None:
    chance = random.Random(5)
    junk = [
        (repo_topic(SITE, f"{chance.randbytes(32).hex()}.piece"), chance.randbytes(chance.randrange(1, 3000)))
        for _ in range(9_000)
    ]
    hostile = ["../../etc/passwd", "..", "%2e%2e", "x" * 1000, "timestamp.json/..", "999.snapshot.json", "é", " "]
    junk += [(repo_topic(SITE, f"{hostile[turn % 8]}{turn // 8}"), b"junk") for turn in range(1_000)]
    flood(mosquitto.mqtt, junk)
    with contextlib.suppress(BrokerError):  # Mosquitto closes the connection at control characters
        flood(mosquitto.mqtt, [(repo_topic(SITE, "a\x1b[2Jb"), b"junk")])
    mosquitto.publish(list(range(50)))
    before = memory_mb()[0]
    with door_at(mosquitto, tmp_path / "state") as door:
        settle(door, 1)
        mosquitto.publish(list(range(51)))
        settle(door, 2)
        assert not [news for news in door.news if news.refused]
    assert memory_mb()[0] - before < 30
    assert sum(path.stat().st_size for path in (tmp_path / "state").rglob("*") if path.is_file()) < 200_000
    assert {path.name for path in (tmp_path / "state" / "release").iterdir()} == {
        "root.json",
        "metadata",
        "current.json",
        "releases",
    }


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_message_of_300_mb_is_never_read(mosquitto: Setting, tmp_path: Path, protocol: str) -> None:
    """Under a name that every door needs: the door continues, and applies the next genuine release."""
    mqtt = MqttConfig(url=mosquitto.mqtt.url, protocol=protocol)  # type: ignore[arg-type]
    mosquitto.publish(list(range(50)))
    with door_at(mosquitto, tmp_path / "state", mqtt=mqtt) as door:
        settle(door, 1)
        send_raw(mosquitto.port, repo_topic(SITE, TIMESTAMP), 268_000_000)  # MQTT allows no more than 268,435,455
        before = memory_mb()[0]
        looked = threading.Event()
        looked.wait(0.5)
        assert memory_mb()[0] - before < 30
        assert door.release == 1
        mosquitto.publish(list(range(51)))
        settle(door, 2, 20)


def send_raw(port: int, topic: str, size: int) -> None:
    """Publish a huge retained message without holding it in memory; returns when the broker has it."""
    name = topic.encode()
    left = 2 + len(name) + 2 + size
    length = bytearray()
    rest = left
    while True:
        length.append(rest % 128 | (0x80 if rest > 127 else 0))
        rest //= 128
        if not rest:
            break
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil")
        assert sock.recv(4) == b"\x20\x02\x00\x00"
        sock.sendall(b"\x33" + bytes(length) + len(name).to_bytes(2, "big") + name + b"\x00\x01")
        block = b"\0" * 1_000_000
        for _ in range(size // len(block)):
            sock.sendall(block)
        sock.sendall(b"\0" * (size % len(block)))
        assert sock.recv(4) == b"\x40\x02\x00\x01"


@needs_mosquitto
def test_connection_ends_at_its_packet_limit(mosquitto: Setting) -> None:
    """Over 3.1.1 only the client enforces the limit, by a hook that a new version of paho might not call."""
    flood(mosquitto.mqtt, [("big", b"x" * 300_000)])
    mqtt = MqttConfig(url=mosquitto.mqtt.url, protocol="3.1.1")
    connection, _ = connect(mqtt, client_id="small", max_packet_bytes=FILE_BYTES)
    with pytest.raises(BrokerError):  # noqa: PT012
        connection.subscribe(["big"], qos=1)
        while True:
            connection.poll(1.0)
    connection.abort()


@needs_mosquitto
@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_hundred_doors(mosquitto: Setting, tmp_path: Path, count: int) -> None:
    """All apply the first release and the next, and none refuses one; in one process, on one broker."""
    mosquitto.publish(list(range(200)))
    began = time.monotonic()
    doors = [door_at(mosquitto, tmp_path / f"state-{number}", f"door-{number}") for number in range(count)]
    try:
        for door in doors:
            door.start()
        wait_until(lambda: all(door.release == 1 for door in doors), "all at release 1", 60)
        first_s = time.monotonic() - began
        mosquitto.publish(list(range(1, 200)))
        began = time.monotonic()
        wait_until(lambda: all(door.release == 2 for door in doors), "all at release 2", 60)
        print(f"{count} doors: first release {first_s:.1f} s, the next {time.monotonic() - began:.1f} s")
        assert not [news for door in doors for news in door.news if news.refused]
    finally:
        with ThreadPoolExecutor(100) as pool:
            list(pool.map(Door.close, doors))


@needs_mosquitto
def test_reconnection_to_a_lost_broker(tmp_path: Path) -> None:
    desk = ReleaseSigner(tmp_path / "desk")
    broker = Mosquitto(tmp_path, conf=CONF)
    broker.start()
    setting = Setting(broker.port, MqttConfig(url=broker.url), desk)
    setting.publish(list(range(5)))
    with door_at(setting, tmp_path / "state") as door:
        settle(door, 1)
        broker.close()
        broker.start()  # without persistence, so all messages are lost
        setting.publish(list(range(6)))
        settle(door, 2, 20)
        broker.close()
    assert [news.status.reason for news in door.news if news.refused] == []


def test_source_closed_before_it_connected() -> None:
    source = MqttSource(MqttConfig(url="mqtt://127.0.0.1:1"), SITE, "test-unused-repo")
    source.close()
    source.close()


def test_unanswered_source_reports_the_missing_file(setting: Setting) -> None:
    source = MqttSource(setting.mqtt, SITE, "test-lonely-repo", answer_s=0.2)
    try:
        assert source.fetch(["1.snapshot.json"]) == {}
    finally:
        source.close()
