"""The example locks of the documentation on a real broker: they open once, for fresh openings of their own door."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from paho.mqtt.enums import CallbackAPIVersion
from support import npm
from support.mqtt_brokers import Mosquitto, announce, config_for, needs_mosquitto, wait_until

from edge.core.config import MqttConfig, OutboxConfig
from edge.core.timestamps import format_unix_ns
from edge.core.uuid7 import Uuid7Source
from edge.events.schema import VERSION, OpenCommand, PersonRef, encode
from edge.events.signing import load_signer
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import ConnectionStatus
from edge.mqtt.publisher import Publisher
from edge.outbox.outbox import Outbox

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
FRONT = Topics("home", "front")
IDS = Uuid7Source()
NS = 1_000_000_000
NUMBERS = itertools.count(228_785_735_598_089)
pytestmark = needs_mosquitto


@dataclass(frozen=True, slots=True)
class Site:
    """A broker, a folder with the keys and the lock's memory, and the command of the lock."""

    broker: Mosquitto
    folder: Path
    command: tuple[str, ...]

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.signing.key"


class Lock:
    """One run of an example, with its output."""

    def __init__(self, site: Site, *, signed: bool) -> None:
        said = site.folder / "said.txt"
        said.write_text("")
        self._said = said
        words = [f"127.0.0.1:{site.broker.port}", FRONT.topic_for(Channel.OPEN), str(site.folder / "opened.txt")]
        words += [str(site.folder / "front.signing.pub")] * signed
        with said.open("w") as log:
            self._process = subprocess.Popen([*site.command, *words], stdout=log, stderr=subprocess.STDOUT)
        wait_until(lambda: "listens" in self.words, "the lock listens", 20)

    @property
    def words(self) -> str:
        return self._said.read_text()

    def answers(self) -> list[str]:
        return [line for line in self.words.splitlines() if line != "listens"]

    def answer(self, count: int) -> str:
        """Return the answer to message number `count`."""
        wait_until(lambda: len(self.answers()) >= count, f"answer {count}; so far {self.words}")
        assert len(self.answers()) == count
        return self.answers()[-1]

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def python(_: Path) -> tuple[str, ...]:
    return sys.executable, str(EXAMPLES / "lock.py")


def node(folder: Path) -> tuple[str, ...]:
    modules = npm.packages("mqtt@5") / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(EXAMPLES / "lock.mjs", folder)
    return "node", str(folder / "lock.mjs")


@pytest.fixture(params=[python, pytest.param(node, marks=[pytest.mark.slow, pytest.mark.network])])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    make: Callable[[Path], tuple[str, ...]] = request.param
    command = make(tmp_path)
    for name in ("front", "other"):
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.signing.key").write_bytes(pem)
        (tmp_path / f"{name}.signing.pub").write_bytes(public)
    with Mosquitto(tmp_path) as broker:
        yield Site(broker, tmp_path, command)


def an_opening(door: str = "front", late_s: float = 0.0) -> OpenCommand:
    at_ns = time.time_ns() - round(late_s * NS)
    return OpenCommand(
        v=VERSION,
        id=IDS.new(at_ns // 10**6),
        seq=next(NUMBERS),
        door=door,
        person=PersonRef(id="ada", name="Ada Lovelace"),
        at=format_unix_ns(at_ns),
        expires_at=format_unix_ns(at_ns + 3 * NS),
    )


def sealed(site: Site, message: OpenCommand, *, key: str = "front", channel: Channel = Channel.OPEN) -> bytes:
    return load_signer(MqttConfig(signing_key=str(site.key(key))))(channel, encode(message))


def publish(site: Site, payload: bytes, *, retain: bool = False) -> None:
    """Publish to the topic without being the door."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", site.broker.port)
    client.loop_start()
    client.publish(FRONT.topic_for(Channel.OPEN), payload, qos=1, retain=retain).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def test_what_a_real_door_sends_opens_once_and_never_again(site: Site) -> None:
    config = config_for(site.broker, signing_key=str(site.key("front")))
    opening = an_opening()
    with Lock(site, signed=True) as lock:
        with (
            Outbox(site.folder / "outbox.sqlite", OutboxConfig(), announce=announce) as outbox,
            Publisher(config, FRONT, outbox, on_open_expired=lambda *_: None) as publisher,
        ):
            wait_until(lambda: publisher.state.status is ConnectionStatus.ONLINE, "online")
            publisher.open(opening, time.monotonic_ns())
            assert lock.answer(1) == "opens for ada"
        publish(site, sealed(site, opening))
        assert "seen before" in lock.answer(2)
    with Lock(site, signed=True) as lock:
        publish(site, sealed(site, opening))
        assert "seen before" in lock.answer(1), "not after a restart either"
        publish(site, sealed(site, an_opening()))
        assert lock.answer(2) == "opens for ada"


def test_what_is_late_forged_altered_unsigned_or_of_another_door_opens_nothing(site: Site) -> None:
    fresh = an_opening()
    altered = sealed(site, fresh).replace(b"eyJ2", b"eyJ3")
    beside = sealed(site, an_opening(door="back")).replace(b'"door":"back"', b'"door":"front"')
    wrong = {
        "late": sealed(site, an_opening(late_s=3.5)),
        "early": sealed(site, msgspec.structs.replace(fresh, expires_at=format_unix_ns(time.time_ns() + 60 * NS))),
        "forged": sealed(site, fresh, key="other"),
        "altered": altered,
        "altered outside the signature": beside,
        "unsigned": encode(fresh),
        "an event": sealed(site, fresh, channel=Channel.EVENTS),
        "foreign": sealed(site, an_opening(door="back")),
        "nonsense": b"\xff[",
        "a number": b"1",
    }
    with Lock(site, signed=True) as lock:
        for count, (what, payload) in enumerate(wrong.items(), start=1):
            publish(site, payload)
            assert lock.answer(count).startswith("stays shut"), what
        publish(site, sealed(site, an_opening()))
        assert lock.answer(len(wrong) + 1) == "opens for ada"


def test_withheld_opening_after_a_later_one(site: Site) -> None:
    """It is rejected also if it seems fresh because the clock was set back, and after a restart of the lock."""
    withheld, later = an_opening(), an_opening()
    with Lock(site, signed=True) as lock:
        publish(site, sealed(site, later))
        assert lock.answer(1) == "opens for ada"
        publish(site, sealed(site, withheld))
        assert "older than one" in lock.answer(2)
    with Lock(site, signed=True) as lock:
        publish(site, sealed(site, an_opening(late_s=-60.0)))
        assert "not fresh" in lock.answer(1)
        publish(site, sealed(site, withheld))
        assert "older than one" in lock.answer(2)


def test_empty_key_argument(site: Site) -> None:
    """An unset variable in a shell script: the lock does not start, instead of accepting unsigned openings."""
    words = [f"127.0.0.1:{site.broker.port}", FRONT.topic_for(Channel.OPEN), str(site.folder / "opened.txt"), ""]
    with subprocess.Popen([*site.command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as lock:
        try:
            said, _ = lock.communicate(timeout=15)
        finally:
            lock.kill()
    assert lock.returncode == 1
    assert b"listens" not in said


def test_oversized_packet_at_a_lock(site: Site) -> None:
    """The lock does not buffer it: it disconnects, reconnects, and opens for the next opening."""
    with Lock(site, signed=True) as lock:
        publish(site, b"x" * 2_000_000)
        wait_until(lambda: lock.words.count("listens") == 2, "listens again")
        assert lock.answers() == []
        publish(site, sealed(site, an_opening()))
        assert lock.answer(1) == "opens for ada"


def test_what_the_broker_kept_opens_nothing(site: Site) -> None:
    publish(site, sealed(site, an_opening()), retain=True)
    with Lock(site, signed=True) as lock:
        assert "retained" in lock.answer(1)


def test_without_a_key_the_rest_still_holds(site: Site) -> None:
    opening = an_opening()
    with Lock(site, signed=False) as lock:
        publish(site, encode(opening))
        assert lock.answer(1) == "opens for ada"
        for count, payload in enumerate((opening, an_opening(door="back"), an_opening(late_s=3.5)), start=2):
            publish(site, encode(payload))
            assert lock.answer(count).startswith("stays shut")
