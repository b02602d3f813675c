"""Signed openings: what a lock admits, once and in time, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from support.monitor_fleet import a_health, a_release, a_status
from support.mqtt_brokers import BROKERS, IDS, T0_NS, Relay, an_event, announce, config_for, make_broker

from edge.core.config import MqttConfig, OutboxConfig
from edge.core.errors import ConfigError
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, OpenCommand, PersonRef, Record, decode, encode
from edge.events.signing import DSSE_PAYLOAD_TYPES, Signer, load_signer
from edge.events.topics import Channel, Topics
from edge.events.verifier import (
    EVENT,
    HEALTH,
    OPEN,
    RELEASE,
    STATUS,
    OpenRejected,
    OpenVerifier,
    load_key,
    verify_signature,
)
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox

NS = 1_000_000_000
KEYS = Path(__file__).parents[2] / "systemd" / "mosquitto" / "keys.sh"
KEY = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"b" * 32)
CAPTURED_S = T0_NS / NS


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def seal(tmp_path: Path) -> Signer:
    """What the door "front" signs with."""
    return seal_of(KEY, tmp_path)


def seal_of(key: Ed25519PrivateKey, folder: Path) -> Signer:
    file = folder / "signing.key"
    file.write_bytes(pem(key))
    return load_signer(MqttConfig(signing_key=str(file)))


def opening(door: str = "front", at_ns: int = T0_NS, lasts_s: float = 3.0, seq: int = 7) -> OpenCommand:
    return OpenCommand(
        v=VERSION,
        id=IDS.new(at_ns // 10**6),
        seq=seq,
        door=door,
        person=PersonRef(id="ada", name="Ada Lovelace"),
        at=format_unix_ns(at_ns),
        expires_at=format_unix_ns(at_ns + round(lasts_s * NS)),
    )


class Clock:
    """A lock's wall clock that goes when the test says so, from just after the capture."""

    def __init__(self) -> None:
        self.now_s = CAPTURED_S - 60.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> OpenVerifier:
    """The lock of "front", switched on a minute before the capture; now it is half a second after it."""
    made = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    return made


def test_a_fresh_opening_of_this_door_is_admitted(seal: Signer, guard: OpenVerifier) -> None:
    message = opening()
    admitted = guard.verify(seal(Channel.OPEN, encode(message)))
    assert (admitted.id, admitted.person, admitted.at) == (message.id, "ada", message.at)


def test_a_replay_is_refused_even_if_the_lock_s_clock_has_gone_back(
    seal: Signer, guard: OpenVerifier, clock: Clock
) -> None:
    sent = seal(Channel.OPEN, encode(opening()))
    guard.verify(sent)
    for now_s in (CAPTURED_S + 0.6, CAPTURED_S, CAPTURED_S - 0.9):
        clock.now_s = now_s
        with pytest.raises(OpenRejected, match="seen before"):
            guard.verify(sent)


def test_a_replay_after_the_lock_was_restarted_is_refused(seal: Signer, guard: OpenVerifier, clock: Clock) -> None:
    """A new guard remembers nothing, so it takes nothing from before its time."""
    sent = seal(Channel.OPEN, encode(opening()))
    guard.verify(sent)
    with pytest.raises(OpenRejected, match="before this verifier started"):
        OpenVerifier(public_pem(KEY), "front", clock=clock).verify(sent)


def test_replay_behind_a_later_opening(seal: Signer, guard: OpenVerifier) -> None:
    """Whatever number of openings came in between."""
    first, second, third = (seal(Channel.OPEN, encode(opening(seq=seq))) for seq in (1, 2, 3))
    for sent in (first, second, third):
        guard.verify(sent)
    for sent in (first, second, third):
        with pytest.raises(OpenRejected, match="seen before"):
            guard.verify(sent)


def test_withheld_opening_after_a_clock_step(seal: Signer, guard: OpenVerifier, clock: Clock) -> None:
    """A broker keeps one back and passes on the next; a day later the lock's clock is set back: it stays shut."""
    withheld = seal(Channel.OPEN, encode(opening(seq=7)))
    guard.verify(seal(Channel.OPEN, encode(opening(seq=8))))
    clock.now_s = CAPTURED_S + 1.0
    with pytest.raises(OpenRejected, match="older than one that was"):
        guard.verify(withheld)


def test_opening_that_was_refused_once_stays_refused(seal: Signer, guard: OpenVerifier, clock: Clock) -> None:
    """Made under a clock a day ahead, shown today, and again tomorrow, when it looks fresh."""
    cheque = seal(Channel.OPEN, encode(opening(at_ns=T0_NS + 86_400 * NS)))
    with pytest.raises(OpenRejected, match="from the future"):
        guard.verify(cheque)
    clock.now_s = CAPTURED_S + 86_400.5
    with pytest.raises(OpenRejected, match="seen before"):
        guard.verify(cheque)


def test_numbers_outlive_a_restart_of_the_lock(seal: Signer, clock: Clock, tmp_path: Path) -> None:
    """With a memory; it comes back while its clock shows a moment before the capture."""
    memory = tmp_path / "front.number"
    clock.now_s = CAPTURED_S - 1.0
    before = OpenVerifier(public_pem(KEY), "front", memory=memory, clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    before.verify(seal(Channel.OPEN, encode(opening(seq=8))))
    clock.now_s = CAPTURED_S - 1.0
    after = OpenVerifier(public_pem(KEY), "front", memory=memory, clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    for seq in (7, 8):
        with pytest.raises(OpenRejected, match="seen before"):
            after.verify(seal(Channel.OPEN, encode(opening(seq=seq))))
    assert after.verify(seal(Channel.OPEN, encode(opening(seq=9)))).person == "ada"


def test_nothing_opens_that_cannot_be_remembered(seal: Signer, clock: Clock, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    guard = OpenVerifier(public_pem(KEY), "front", memory=folder / "number", clock=clock)
    folder.rmdir()
    clock.now_s = CAPTURED_S + 0.5
    with pytest.raises(OpenRejected, match="cannot be remembered"):
        guard.verify(seal(Channel.OPEN, encode(opening())))


def test_damaged_memory_keeps_the_lock_from_starting(tmp_path: Path) -> None:
    memory = tmp_path / "number"
    memory.write_text("junk\n")
    with pytest.raises(ValueError, match="holds no number"):
        OpenVerifier(public_pem(KEY), "front", memory=memory)


@pytest.mark.parametrize("seq", [True, "8", 8.0, None, -1])
def test_opening_without_a_number_is_refused(seal: Signer, guard: OpenVerifier, seq: object) -> None:
    message = json.loads(encode(opening())) | {"seq": seq}
    with pytest.raises(OpenRejected, match="not version 1"):
        guard.verify(seal(Channel.OPEN, json.dumps(message).encode()))


def test_verified_content_is_what_was_signed(seal: Signer) -> None:
    """Not the plain fields beside it: JSON's 1 and true are equal to Python."""
    sent = json.loads(seal(Channel.OPEN, encode(opening())))
    content = verify_signature(json.dumps(sent | {"v": True}).encode(), KEY.public_key(), OPEN)
    assert content["v"] is not True


@pytest.mark.parametrize(("after_s", "good"), [(3.9, True), (4.1, False), (3600.0, False), (-0.9, True), (-1.1, False)])
def test_only_what_is_fresh_is_admitted(
    seal: Signer, guard: OpenVerifier, clock: Clock, after_s: float, good: bool
) -> None:
    """Three seconds, and one by which the clocks may differ; what comes from the future is no better."""
    clock.now_s = CAPTURED_S + after_s
    sent = seal(Channel.OPEN, encode(opening()))
    if good:
        guard.verify(sent)
    else:
        with pytest.raises(OpenRejected, match=r"too late|from the future"):
            guard.verify(sent)


def test_the_lock_has_an_age_limit_of_its_own(seal: Signer, guard: OpenVerifier, clock: Clock) -> None:
    """A door that is configured carelessly cannot make openings that last for a day."""
    clock.now_s = CAPTURED_S + 12.0
    with pytest.raises(OpenRejected, match="too late"):
        guard.verify(seal(Channel.OPEN, encode(opening(lasts_s=86_400))))


def test_another_door_s_key_opens_nothing_here(guard: OpenVerifier, tmp_path: Path) -> None:
    with pytest.raises(OpenRejected, match="not signed by this door"):
        guard.verify(seal_of(OTHER, tmp_path)(Channel.OPEN, encode(opening())))


def test_an_opening_for_another_door_opens_nothing_here(seal: Signer, guard: OpenVerifier) -> None:
    """Not even with the same key in both doors."""
    with pytest.raises(OpenRejected, match="meant for door 'back'"):
        guard.verify(seal(Channel.OPEN, encode(opening(door="back"))))


def test_an_event_is_no_opening(seal: Signer, guard: OpenVerifier) -> None:
    """Also one whose bytes are those of an opening: the type is signed, too."""
    with pytest.raises(OpenRejected, match="signed as something else"):
        guard.verify(seal(Channel.EVENTS, encode(opening())))
    relabelled = seal(Channel.EVENTS, encode(opening())).replace(EVENT.encode(), OPEN.encode())
    with pytest.raises(OpenRejected, match="altered"):
        guard.verify(relabelled)


def test_an_unsigned_opening_is_refused(guard: OpenVerifier) -> None:
    with pytest.raises(OpenRejected, match="not signed"):
        guard.verify(encode(opening()))


def test_plain_fields_that_were_altered_are_noticed(seal: Signer, guard: OpenVerifier) -> None:
    """Otherwise a careless reader would check the signature and believe what stands beside it."""
    sent = json.loads(seal(Channel.OPEN, encode(opening())))
    sent["person"]["id"] = "mallory"
    with pytest.raises(OpenRejected, match="plain fields"):
        guard.verify(json.dumps(sent).encode())


@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_altered_bit_opens(tmp_path_factory: pytest.TempPathFactory, where: int, bit: int) -> None:
    """Each bit, one at a time: either what is admitted is exactly what was signed, or it is refused."""
    message, clock = opening(), Clock()
    guard = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    sent = bytearray(seal_of(KEY, tmp_path_factory.getbasetemp())(Channel.OPEN, encode(message)))
    sent[where % len(sent)] ^= 1 << bit
    try:
        admitted = guard.verify(bytes(sent))
    except OpenRejected:
        return
    assert (admitted.id, admitted.person, admitted.at) == (message.id, "ada", message.at)


@given(st.binary(max_size=300) | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_any_bytes_are_refused_and_never_an_unexpected_error(junk: bytes) -> None:
    for message in (
        junk,
        b'{"dsse":' + junk + b"}",
        b'{"dsse":{"payload":' + junk + b',"signatures":[]}}',
        b"[" * 9999,
    ):
        with pytest.raises(OpenRejected):
            verify_signature(message, KEY.public_key(), OPEN)
    with pytest.raises(OpenRejected, match="no message"):
        verify_signature(b" " * 70_000, KEY.public_key(), OPEN)


def test_the_envelope_is_standard_dsse(seal: Signer) -> None:
    """Another implementation verifies it, and its payload is the unsigned message byte for byte."""
    plain = encode(opening())
    sent = json.loads(seal(Channel.OPEN, plain))
    envelope = Envelope.from_dict(sent["dsse"])
    envelope.verify([SSlibKey.from_crypto(KEY.public_key())], 1)
    assert (envelope.payload, envelope.payload_type) == (plain, DSSE_PAYLOAD_TYPES[Channel.OPEN])


def test_whoever_does_not_care_reads_the_same_contract(seal: Signer) -> None:
    """The signature is one more key; without a signing key the bytes are as ever."""
    message = opening()
    records: dict[Channel, Record] = {
        Channel.EVENTS: an_event(),
        Channel.OPEN: message,
        Channel.RELEASE: a_release("front", 12),
        Channel.STATUS: a_status("front"),
        Channel.HEALTH: a_health("front", 3),
    }
    for channel, record in records.items():
        sent = seal(channel, encode(record))
        assert b"dsse" in sent
        assert decode(channel, sent) == record
    assert load_signer(MqttConfig())(Channel.OPEN, encode(message)) == encode(message)


def test_challenges_and_presence_are_not_signed(seal: Signer) -> None:
    for channel in (Channel.CHALLENGE, Channel.PRESENCE):
        assert seal(channel, b"{}") == b"{}"


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        (Channel.OPEN, OPEN),
        (Channel.EVENTS, EVENT),
        (Channel.RELEASE, RELEASE),
        (Channel.STATUS, STATUS),
        (Channel.HEALTH, HEALTH),
    ],
)
def test_signed_channels_and_their_types(seal: Signer, channel: Channel, kind: str) -> None:
    """What is signed on one channel is nothing on another."""
    sent = seal(channel, b'{"v":1}')
    assert verify_signature(sent, KEY.public_key(), kind) == {"v": 1}
    for other in {OPEN, EVENT, RELEASE, STATUS, HEALTH} - {kind}:
        with pytest.raises(OpenRejected, match="signed as something else"):
            verify_signature(sent, KEY.public_key(), other)


def test_last_will_is_signed(tmp_path: Path, seal: Signer) -> None:
    """The broker says that a door is gone in the door's own words."""
    assert seal(Channel.STATUS, b'{"v":1}') != b'{"v":1}', "the fixture has written the key"
    doors = Topics("home", "front")
    with (
        make_broker("embedded", tmp_path) as broker,
        Relay(broker.port) as relay,
        Outbox(tmp_path / "o.db", OutboxConfig(), announce=announce) as outbox,
        Subscriber(config_for(broker), doors, [Channel.STATUS]) as listener,
        Publisher(
            config_for(broker, relay.port, signing_key=str(tmp_path / "signing.key")),
            doors,
            outbox,
            on_open_expired=lambda *_: None,
            backoff_s=(60.0, 60.0),
        ),
    ):
        said = []
        for message in listener.messages(8.0):
            said.append(verify_signature(message.payload, KEY.public_key(), STATUS)["reason"])
            relay.close()
            if len(said) == 2:
                break
    assert said == ["connected", "the connection was lost"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        public_pem(KEY),
        KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "junk", "public", "encrypted", "another kind"],
)
def test_a_file_that_is_no_signing_key_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"signing_key.*openssl genpkey -algorithm ed25519") as caught:
        load_signer(MqttConfig(signing_key=str(file)))
    assert "\n" not in str(caught.value)


def test_a_lock_refuses_to_begin_with_another_kind_of_key() -> None:
    other = generate_private_key(SECP256R1()).public_key()
    with pytest.raises(ValueError, match="not an Ed25519"):
        OpenVerifier(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "front")


def test_the_verifier_stands_alone() -> None:
    """It is meant to be copied to a lock, where none of the rest is installed."""
    source = (Path(__file__).parents[2] / "edge" / "events" / "verifier.py").read_text()
    assert "edge." not in source.split('"""', 2)[2]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", BROKERS)
def test_what_a_door_publishes_is_what_a_lock_admits(kind: str, tmp_path: Path) -> None:
    """With keys made by keys.sh, over MQTT 5 and 3.1.1: an opening, and an event with the time of its sending."""
    subprocess.run([KEYS, tmp_path, "signing", "front"], check=True, capture_output=True)
    public = (tmp_path / "front.signing.pub").read_bytes()
    assert (tmp_path / "front.signing.key").stat().st_mode & 0o077 == 0
    doors = Topics("home", "front")
    with make_broker(kind, tmp_path) as broker, Outbox(tmp_path / "o.db", OutboxConfig(), announce=announce) as outbox:
        config = msgspec.structs.replace(config_for(broker), signing_key=str(tmp_path / "front.signing.key"))
        guard = OpenVerifier(public, "front", max_age_s=60.0)
        with (
            Subscriber(config_for(broker), doors, [Channel.OPEN, Channel.EVENTS]) as listener,
            Publisher(config, doors, outbox, on_open_expired=lambda *_: None) as publisher,
        ):
            event = an_event()
            outbox.append(event)
            sent = opening(at_ns=time.time_ns())
            publisher.open(sent, time.monotonic_ns())
            heard: dict[Channel, Any] = {}
            for message in listener.messages(8.0):
                heard[message.channel] = message.payload
                if len(heard) == 2:
                    break
    assert guard.verify(heard[Channel.OPEN]).id == sent.id
    content = verify_signature(heard[Channel.EVENTS], load_key(public), EVENT)
    assert content["id"] == event.id
    assert content["published_at"] is not None
