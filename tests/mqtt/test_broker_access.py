"""Access to the broker with the shipped configuration, a real Mosquitto and real keys."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from support.broker_site import MOSQUITTO_PASSWD, SHIPPED, BrokerSite, make_keys, needs_openssl, shipped_config
from support.mqtt_brokers import T0_NS, Mosquitto, an_event, announce, free_port, needs_mosquitto, wait_until
from threshold_tools.release.options import add_broker_options, mqtt_config
from threshold_tools.release.site_status import status
from threshold_tools.release.transport import publish

from edge.core.config import DoorConfig, HomeAssistantConfig, MqttConfig, OutboxConfig
from edge.core.credentials import FOLDER_VARIABLE
from edge.core.errors import BrokerError, BrokerRefusedError, ConfigError
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.events.homeassistant import BIRTH, DiscoveryMessage, make_discovery_message
from edge.events.schema import Event, OpenCommand, PersonRef, ReleaseReport, encode
from edge.events.topics import Channel, Topics, repo_topic
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.mqtt.connection import ConnectionStatus, connect
from edge.mqtt.paho_client import IncomingMessage, PahoClient
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox
from edge.updates.release_format import TIMESTAMP
from edge.updates.sources import MqttSource

ACCOUNTS = ("front", "back", "lock-front", "listener", "home-assistant", "operator")
FRONT, BACK = Topics("home", "front"), Topics("home", "back")
PASSWORD = "correct horse battery staple"
pytestmark = [needs_mosquitto, needs_openssl]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of a site: its authority, its broker, all clients, and one password."""
    folder = tmp_path_factory.mktemp("site")
    make_keys(folder, "ca")
    make_keys(folder, "server", "localhost")
    for name in ACCOUNTS:
        make_keys(folder, "client", name)
    shutil.copy(SHIPPED / "threshold.acl", folder)
    subprocess.run(
        [MOSQUITTO_PASSWD, "-b", "-c", folder / "passwords", "front", PASSWORD], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def broker(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerSite]:
    password_port = free_port()
    with Mosquitto(tmp_path_factory.mktemp("broker"), conf=shipped_config(site, password_port)) as mosquitto:
        yield BrokerSite(site, mosquitto.port, password_port)


@pytest.fixture
def enter(broker: BrokerSite) -> Iterator[Callable[..., PahoClient]]:
    """Connect with the certificate of a client."""
    made: list[PahoClient] = []

    def enter(name: str, will: tuple[str, bytes] | None = None) -> PahoClient:
        made.append(connect(broker.member(name), client_id=f"test-{name}", will=will, max_packet_bytes=64 * 1024)[0])
        return made[-1]

    yield enter
    for connection in made:
        connection.abort()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db", OutboxConfig(), announce=announce) as made:
        yield made


def answer_to(connection: PahoClient, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> str:
    """Publish, and return the refusal of the broker, or ""."""
    number = connection.publish(topic, payload, qos=1, retain=retain)
    answers: list[str] = []

    def answered() -> bool:
        connection.poll(0.05)
        answers.extend(receipt.refusal for receipt in connection.take_acks() if receipt.packet_id == number)
        return bool(answers)

    wait_until(answered, f"an answer about {topic}")
    return answers[0]


def heard_until(connection: PahoClient, last: str) -> list[IncomingMessage]:
    """Received messages up to a message on the topic `last`."""
    received: list[IncomingMessage] = []

    def there() -> bool:
        connection.poll(0.05)
        received.extend(connection.take_messages())
        return bool(received) and received[-1].topic == last

    wait_until(there, f"a message on {last}")
    return received


def ask_to_read(connection: PahoClient, filters: list[str]) -> None:
    """Subscribe. Mosquitto also confirms topics that it never delivers; other brokers refuse them."""
    for topic in filters:
        try:
            connection.subscribe([topic], qos=1)
        except BrokerRefusedError:
            continue


def an_opening() -> OpenCommand:
    return OpenCommand(
        v=1,
        id="018bcfe5-687b-7abc-8def-0123456789ab",
        seq=1,
        door="front",
        person=PersonRef(id="ada", name="Ada"),
        at=format_unix_ns(T0_NS),
        expires_at=format_unix_ns(T0_NS),
    )


def test_messages_of_a_door_arrive(broker: BrokerSite, outbox: Outbox, enter: Callable[..., PahoClient]) -> None:
    """A publisher with a client certificate: events, the open command and the status reach their subscribers."""
    lock = enter("lock-front")
    lock.subscribe([FRONT.topic_for(Channel.OPEN)], qos=1)
    with (
        Subscriber(broker.member("listener"), Topics("home", "+")) as listener,
        Publisher(broker.member("front"), FRONT, outbox, on_open_expired=lambda *_: None) as door,
    ):
        wait_until(lambda: door.state.status is ConnectionStatus.ONLINE, "online")
        event = an_event()
        outbox.append(event)
        door.open(an_opening(), time.monotonic_ns())
        wait_until(lambda: outbox.depth() == 0, "the event is acknowledged")
        seen = {}
        for message in listener.messages(8.0):
            seen[message.channel] = message.record
            if {Channel.EVENTS, Channel.OPEN, Channel.STATUS} <= set(seen):
                break
        told = seen[Channel.EVENTS]
        assert isinstance(told, Event)
        assert told.id == event.id
    assert [message.topic for message in heard_until(lock, FRONT.topic_for(Channel.OPEN))] == [
        FRONT.topic_for(Channel.OPEN)
    ]


@pytest.mark.parametrize(("speaker", "victim"), [("back", FRONT), ("front", BACK)])
def test_door_cannot_publish_as_another(enter: Callable[..., PahoClient], speaker: str, victim: Topics) -> None:
    """Not on any of its topics, not to the repository, and not by its last will; no client receives a message."""
    witness, liar, honest = enter("listener"), enter(speaker), enter(victim.door)
    witness.subscribe([Topics("home", "+").topic_for(channel) for channel in Channel], qos=1)
    witness.poll(0.05)
    witness.take_messages()  # what was retained
    picture = victim.snapshot("018bcfe5-687b-7abc-8def-0123456789ab")
    topics = [
        *(victim.topic_for(channel) for channel in Channel),
        picture,
        repo_topic("home", "timestamp.json"),
        "elsewhere",
    ]
    for topic in topics:
        assert "authori" in answer_to(liar, topic).lower(), topic
    liar.abort()
    enter(speaker, will=(victim.topic_for(Channel.STATUS), b"a lie")).abort()
    last = victim.topic_for(Channel.HEALTH)
    assert answer_to(honest, last) == ""
    assert [message.topic for message in heard_until(witness, last)] == [last]


def test_topics_that_a_door_may_read(enter: Callable[..., PahoClient]) -> None:
    """The repository and the birth message of Home Assistant, whatever it subscribes to."""
    front, back, operator = enter("front"), enter("back"), enter("operator")
    assert answer_to(back, BACK.topic_for(Channel.STATUS), b"retained", retain=True) == ""
    ask_to_read(front, ["#", "$SYS/#", "threshold/#", *(BACK.topic_for(channel) for channel in Channel)])
    front.subscribe([repo_topic("home", "timestamp.json")], qos=1)
    for channel in Channel:
        assert answer_to(back, BACK.topic_for(channel)) == ""
    assert answer_to(operator, repo_topic("home", "timestamp.json")) == ""
    topics = {message.topic for message in heard_until(front, repo_topic("home", "timestamp.json"))}
    assert topics == {repo_topic("home", "timestamp.json")}


@pytest.mark.parametrize("name", ["listener", "lock-front", "home-assistant", "operator"])
def test_listener_cannot_open(enter: Callable[..., PahoClient], name: str) -> None:
    """Not as a door, nor as a door of its own name, which a lock that subscribes to all doors would accept."""
    lock, front = enter("listener"), enter("front")
    speaker = lock if name == "listener" else enter(name)
    lock.subscribe(["threshold/home/+/open"], qos=1)
    for door in ("front", "back", name, "new"):
        for channel in (Channel.OPEN, Channel.EVENTS):
            assert "authori" in answer_to(speaker, Topics("home", door).topic_for(channel)).lower(), door
    assert answer_to(front, FRONT.topic_for(Channel.OPEN), b"real") == ""
    assert [message.payload for message in heard_until(lock, FRONT.topic_for(Channel.OPEN))] == [b"real"]


def test_lock_reads_only_openings_of_its_door(enter: Callable[..., PahoClient]) -> None:
    lock, front, back = enter("lock-front"), enter("front"), enter("back")
    ask_to_read(lock, ["#"])
    assert answer_to(back, BACK.topic_for(Channel.OPEN)) == ""
    assert answer_to(front, FRONT.topic_for(Channel.EVENTS)) == ""
    assert answer_to(front, FRONT.topic_for(Channel.OPEN)) == ""
    assert {message.topic for message in heard_until(lock, FRONT.topic_for(Channel.OPEN))} == {
        FRONT.topic_for(Channel.OPEN)
    }


def test_only_the_operator_writes_the_repository(enter: Callable[..., PahoClient]) -> None:
    for name in ("front", "listener", "lock-front"):
        assert "authori" in answer_to(enter(name), repo_topic("home", "1.root.json")).lower(), name
    assert answer_to(enter("operator"), repo_topic("home", "1.root.json")) == ""


def test_discovery_messages_of_doors(broker: BrokerSite, outbox: Outbox, enter: Callable[..., PahoClient]) -> None:
    """Only a door can publish its own; it sends them again when Home Assistant starts."""
    config = DoorConfig(site="home", door="front", home_assistant=HomeAssistantConfig())
    made = make_discovery_message(config)
    assert made
    made = DiscoveryMessage(made.topic, made.payload, made.birth_topic, jitter_s=(0.0, 0.01))
    home, back = enter("home-assistant"), enter("back")
    home.subscribe(["homeassistant/#"], qos=1)
    for topic in (made.topic, made.birth_topic, "homeassistant/device/x/config", "homeassistant/lock/x/config"):
        assert "authori" in answer_to(back, topic).lower(), topic
    with Publisher(broker.member("front"), FRONT, outbox, on_open_expired=lambda *_: None, discovery=made):
        assert heard_until(home, made.topic)[-1].payload == made.payload
        assert answer_to(home, made.birth_topic, BIRTH) == ""
        assert heard_until(home, made.topic)[-1].payload == made.payload
    assert answer_to(enter("front"), made.topic, b"", retain=True) == ""


def test_releases_and_reports_under_the_shipped_rules(broker: BrokerSite, enter: Callable[..., PahoClient]) -> None:
    """Published and requested by the desktop tools, fetched by the source of a door."""
    files = [("1.root.json", b"the root"), (TIMESTAMP, b"{}")]
    publish(broker.member("operator"), "home", files, [])
    with contextlib.closing(MqttSource(broker.member("front"), "home", "test-releases")) as source:
        assert source.wait(5.0, "1.root.json")
        assert source.fetch([name for name, _ in files]) == dict(files)
    report = ReleaseReport(
        v=1,
        door="front",
        release=3,
        applied_at=None,
        ok=True,
        reason=Reason.RELEASE_APPLIED,
        people=1,
        gallery=None,
        models={},
    )
    assert answer_to(enter("front"), FRONT.topic_for(Channel.RELEASE), encode(report), retain=True) == ""
    doors = {door.door: door.release for door in status(broker.member("operator"), "home", 3).doors}
    assert doors["front"] == 3


def test_client_without_rules_can_do_nothing(broker: BrokerSite, enter: Callable[..., PahoClient]) -> None:
    """So removing the lines of a stolen board is enough, although its certificate is valid for years."""
    make_keys(broker.folder, "client", "stolen")
    stolen, front = enter("stolen"), enter("front")
    ask_to_read(stolen, ["#"])
    assert "authori" in answer_to(stolen, Topics("home", "stolen").topic_for(Channel.OPEN)).lower()
    assert answer_to(front, FRONT.topic_for(Channel.OPEN)) == ""
    stolen.poll(0.2)
    assert stolen.take_messages() == []


def test_connection_without_a_certificate_is_refused(broker: BrokerSite) -> None:
    stranger = MqttConfig(url=f"mqtts://localhost:{broker.port}", ca_file=str(broker.folder / "ca.crt"))
    with pytest.raises(BrokerRefusedError, match=r"without a certificate.*cert_file and key_file"):
        connect(stranger, client_id="x")
    with pytest.raises(BrokerError, match=r"closed the connection|did not answer|cannot be reached"):
        connect(MqttConfig(url=f"mqtt://localhost:{broker.port}", protocol="5"), client_id="x")


def test_connection_without_a_password_is_refused(broker: BrokerSite, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed\n")
    anonymous = msgspec.structs.replace(broker.login(""), username="")
    for table, who in ((anonymous, "without a user name"), (broker.login(str(wrong)), "user 'front'")):
        with pytest.raises(BrokerRefusedError, match=rf"refuses .*{who}.*check \[mqtt\]"):
            connect(table, client_id="x")


def test_user_and_password_from_credentials(
    broker: BrokerSite,
    outbox: Outbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As systemd passes them. The password is never logged, neither on success nor on failure."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "mqtt-password").write_text(f"{PASSWORD}\n")
    (tmp_path / "mqtt-user").write_text("front\n")
    (tmp_path / "other").write_text("wrong secret\n")
    caplog.set_level(logging.DEBUG)
    table = broker.login("credential:mqtt-password", "credential:mqtt-user")
    with Publisher(table, FRONT, outbox, on_open_expired=lambda *_: None) as door:
        outbox.append(an_event())
        wait_until(lambda: outbox.depth() == 0, "the event is acknowledged")
        assert door.state.status is ConnectionStatus.ONLINE
    refused = broker.login("credential:other")
    with Publisher(refused, FRONT, outbox, on_open_expired=lambda *_: None) as door:
        wait_until(lambda: door.state.status is ConnectionStatus.REFUSED, "refused")
        reason = door.state.reason
    told = caplog.text + reason + repr(resolve_endpoint(table)) + repr(table)
    assert "refuses user 'front'" in told
    assert PASSWORD not in told
    assert "wrong secret" not in told


@pytest.mark.parametrize(
    ("named", "given", "complaint"),
    [
        ("credential:mqtt-password", None, r"CREDENTIALS_DIRECTORY is not set.*LoadCredential=mqtt-password:"),
        ("credential:absent", "", r"credential:absent cannot be read.*LoadCredential=absent"),
        ("credential:../passwd", "", "is not a credential"),
        ("credential:", "", "is not a credential"),
    ],
)
def test_missing_credential_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, given: str | None, complaint: str
) -> None:
    if given is None:
        monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match=rf"\[mqtt\] password_file: .*{complaint}"):
        resolve_endpoint(MqttConfig(username="front", password_file=named))


def early_server(folder: Path) -> None:
    """A broker certificate that becomes valid tomorrow."""
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    key = load_pem_private_key((folder / "server.key").read_bytes(), None)
    assert isinstance(signer, EllipticCurvePrivateKey)
    assert isinstance(key, EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    (folder / "server.crt").write_bytes(certificate.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("other authority", r"not trusted.*set \[mqtt\] ca_file"),
        ("other name", r"not trusted.*not issued to 'localhost'.*\[mqtt\] url"),
        ("expired", r"not trusted.*has expired.*renew it"),
        ("early", r"not trusted.*not valid yet; check the clock"),
    ],
)
def test_false_broker_is_refused(
    site: Path, tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture, fault: str, complaint: str
) -> None:
    """Events wait, an open command expires, one warning names the remedy, and the broker receives nothing.

    The status is refused, with rare attempts; a certificate that is not valid yet is tried often, because a clock is
    set soon after the start.
    """
    folder = tmp_path / "false"
    shutil.copytree(site, folder)
    for name in ("server.key", "server.crt"):
        (folder / name).unlink()
    if fault == "other authority":
        make_keys(tmp_path / "other", "ca")
        make_keys(tmp_path / "other", "server", "localhost")
        for name in ("server.key", "server.crt", "ca.crt"):
            shutil.copy(tmp_path / "other" / name, folder)
    else:
        make_keys(
            folder,
            "server",
            "elsewhere" if fault == "other name" else "localhost",
            days=-1 if fault == "expired" else 9,
        )
    if fault == "early":
        early_server(folder)
    expired: list[Reason] = []
    with Mosquitto(tmp_path, conf=shipped_config(folder, free_port())) as mosquitto:
        table = msgspec.structs.replace(BrokerSite(site, mosquitto.port, 0).member("front"), open_max_age_s=0.2)
        with Publisher(
            table, FRONT, outbox, on_open_expired=lambda _, reason, __: expired.append(reason), backoff_s=(0.01, 0.01)
        ) as door:
            outbox.append(an_event())
            verdict = ConnectionStatus.UNREACHABLE if fault == "early" else ConnectionStatus.REFUSED
            wait_until(lambda: door.state.status is verdict, verdict)
            with pytest.raises(BrokerError, match=complaint) as caught:
                connect(table, client_id="x")
            door.open(an_opening(), time.monotonic_ns())
            wait_until(lambda: bool(expired), "the open command expires")
            assert outbox.depth() == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in warnings if str(caught.value) in text]) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["other authority", "expired"])
def test_false_door_is_refused_with_a_remedy(broker: BrokerSite, tmp_path: Path, fault: str) -> None:
    """A certificate of another authority, and an expired one."""
    folder = tmp_path / "own"
    if fault == "expired":
        shutil.copytree(broker.folder, folder)
        for name in ("front.key", "front.crt"):
            (folder / name).unlink()
    else:
        make_keys(folder, "ca")
    make_keys(folder, "client", "front", days=-1 if fault == "expired" else 9)
    own = {"cert_file": str(folder / "front.crt"), "key_file": str(folder / "front.key")}
    with pytest.raises(BrokerRefusedError, match=r"refuses the client certificate \(.*\).*cert_file") as caught:
        connect(msgspec.structs.replace(broker.member("front"), **own), client_id="x")
    assert "\n" not in str(caught.value)


def test_certificates_satisfy_the_strictest_check(broker: BrokerSite) -> None:
    """As of Python 3.13, by RFC 5280."""
    context = resolve_endpoint(broker.member("front")).tls
    assert context is not None
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", broker.port), 5.0) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as encrypted,
    ):
        assert encrypted.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize(
    "url",
    ["mqtt://localhost", "mqtt://127.0.0.1:1884", "mqtt://127.8.9.1", "mqtt://[::1]:1883", "mqtt://door.localhost"],
)
def test_unencrypted_connection_to_this_machine(url: str) -> None:
    assert resolve_endpoint(MqttConfig(url=url)).tls is None


@pytest.mark.parametrize(
    "url", ["mqtt://broker.local:1883", "mqtt://192.168.1.5", "mqtt://[fe80::1]", "mqtt://localhost.example.org"]
)
def test_unencrypted_connection_to_another_host(url: str) -> None:
    """One line with the reason and both remedies."""
    with pytest.raises(ConfigError, match=r"not encrypted.*use mqtts://.*insecure = true") as caught:
        resolve_endpoint(MqttConfig(url=url))
    assert "\n" not in str(caught.value)
    assert resolve_endpoint(MqttConfig(url=url, insecure=True)).tls is None


def test_unencrypted_connection_of_a_command() -> None:
    """`edge events` and the desktop tools refuse it in one line unless --insecure is given."""
    words = [sys.executable, "-m", "edge", "events", "--broker", "mqtt://192.0.2.1:1883"]
    refused = subprocess.run(words, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--insecure" in refused.stderr
    assert refused.stderr.count("\n") == 1
    parser = argparse.ArgumentParser()
    add_broker_options(parser, required=True)
    said = ["--broker", "mqtt://192.0.2.1:1883", "--site", "home"]
    with pytest.raises(ConfigError, match="--insecure"):
        resolve_endpoint(mqtt_config(parser.parse_args(said)))
    assert resolve_endpoint(mqtt_config(parser.parse_args([*said, "--insecure"]))).tls is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"url": "mqtts://broker.local", "insecure": True}, r"always verified.*ca_file"),
        ({"ca_file": "/some/ca.crt"}, r"certificates are for mqtts://"),
        ({"url": "mqtts://h", "cert_file": "/some/front.crt"}, r"cert_file, key_file: only one is set"),
        (
            {"url": "mqtts://h", "cert_file": "{front.crt}", "key_file": "/no/such"},
            r"key_file: /no/such cannot be read",
        ),
        ({"url": "mqtts://h", "cert_file": "{front.crt}", "key_file": "{back.key}"}, r"a PEM certificate and its own"),
        ({"url": "mqtts://h", "cert_file": "{front.crt}", "key_file": "{locked.key}"}, r"key without a password"),
    ],
)
def test_contradictory_table_is_a_clear_error(site: Path, changes: dict[str, str | bool], complaint: str) -> None:
    """Also a key with a password, because no person is at the terminal of a door."""
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", site / "front.key", "-out", site / "locked.key"],
        check=True,
        capture_output=True,
    )
    found = {
        key: str(site / value[1:-1]) if isinstance(value, str) and value.startswith("{") else value
        for key, value in changes.items()
    }
    with pytest.raises(ConfigError, match=complaint) as caught:
        resolve_endpoint(MqttConfig(**found))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_keys_are_private_and_never_overwritten(site: Path) -> None:
    before = {path: path.read_bytes() for path in site.glob("*.key")}
    for words in (("ca",), ("server", "localhost"), ("client", "front")):
        with pytest.raises(subprocess.CalledProcessError):
            make_keys(site, *words)
    assert before == {path: path.read_bytes() for path in site.glob("*.key")}
    assert all(path.stat().st_mode & 0o077 == 0 for path in before)


@pytest.mark.parametrize("name", ["a/b", "+", "#", "ca", "server", "", "..", "a b", "-x\ny"])
def test_name_that_breaks_the_rules_gets_no_certificate(site: Path, name: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        make_keys(site, "client", name)


def test_queue_of_an_absent_listener_is_bounded_in_bytes(tmp_path: Path) -> None:
    """A stolen board that floods its topics cannot fill the memory of the broker; with smaller limits than shipped."""
    limits = [
        line for line in (SHIPPED / "threshold.conf").read_text().splitlines() if line.startswith(("max_", "memory_"))
    ]
    assert {"max_queued_bytes 67108864", "memory_limit 268435456"} <= set(limits)
    conf = "\n".join(["allow_anonymous true", *limits, ""]).replace(
        "max_queued_bytes 67108864", "max_queued_bytes 500000"
    )
    with Mosquitto(tmp_path, conf=conf) as broker:
        config = MqttConfig(url=broker.url)
        with Subscriber(config, channels=[Channel.EVENTS], session="archive"):
            pass
        front, _ = connect(config, client_id="front")
        for _number in range(20):
            assert answer_to(front, FRONT.topic_for(Channel.EVENTS), b"x" * 50_000) == ""
        with Subscriber(config, channels=[Channel.EVENTS], session="archive") as archive:
            assert answer_to(front, BACK.topic_for(Channel.EVENTS), b"last") == ""
            kept = []
            for message in archive.messages(8.0):
                if message.payload == b"last":
                    break
                kept.append(len(message.payload))
        front.close()
    assert 0 < sum(kept) <= 600_000
