"""Verification of open commands at a lock: signed, in time, and once."""

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
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from support.mqtt_brokers import BROKERS, T0_NS, an_event, announce, config_for, make_broker
from support.signing_keys import KEY, OTHER_KEY, an_open, public_pem, signer_of

from edge.core.config import OutboxConfig
from edge.events.schema import encode
from edge.events.signing import Signer
from edge.events.topics import Channel, Topics
from edge.events.verifier import (
    EVENT,
    OPEN,
    OpenRejectedError,
    OpenVerifier,
    load_key,
    verify_signature,
)
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox

NS = 1_000_000_000
KEYS = Path(__file__).parents[2] / "systemd" / "mosquitto" / "keys.sh"
CAPTURED_S = T0_NS / NS


class Clock:
    """Wall clock of a lock under control of the test, from just after the capture."""

    def __init__(self) -> None:
        self.now_s = CAPTURED_S - 60.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> OpenVerifier:
    """The lock of `front`, started a minute before the capture; it is half a second after it now."""
    made = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    return made


def test_fresh_open_command_is_accepted(sign: Signer, verifier: OpenVerifier) -> None:
    message = an_open()
    admitted = verifier.verify(sign(Channel.OPEN, encode(message)))
    assert (admitted.id, admitted.person, admitted.at) == (message.id, "ada", message.at)


def test_replay_after_the_clock_went_back(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    sent = sign(Channel.OPEN, encode(an_open()))
    verifier.verify(sent)
    for now_s in (CAPTURED_S + 0.6, CAPTURED_S, CAPTURED_S - 0.9):
        clock.now_s = now_s
        with pytest.raises(OpenRejectedError, match="seen before"):
            verifier.verify(sent)


def test_replay_after_a_restart_of_the_lock(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A new verifier has no memory, so it rejects commands from before its start."""
    sent = sign(Channel.OPEN, encode(an_open()))
    verifier.verify(sent)
    with pytest.raises(OpenRejectedError, match="before this verifier started"):
        OpenVerifier(public_pem(KEY), "front", clock=clock).verify(sent)


def test_opening_captured_as_the_lock_starts(sign: Signer, clock: Clock) -> None:
    """Accepted."""
    at_ns = round(CAPTURED_S) * NS
    clock.now_s = float(round(CAPTURED_S))
    verifier = OpenVerifier(public_pem(KEY), "front", clock=clock)
    assert verifier.verify(sign(Channel.OPEN, encode(an_open(at_ns=at_ns)))).person == "ada"


def test_replay_behind_a_later_opening(sign: Signer, verifier: OpenVerifier) -> None:
    """After any number of other open commands."""
    first, second, third = (sign(Channel.OPEN, encode(an_open(seq=seq))) for seq in (1, 2, 3))
    for sent in (first, second, third):
        verifier.verify(sent)
    for sent in (first, second, third):
        with pytest.raises(OpenRejectedError, match="seen before"):
            verifier.verify(sent)


def test_withheld_opening_after_a_clock_step(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A broker withholds one and delivers the next; a day later the clock of the lock is set back."""
    withheld = sign(Channel.OPEN, encode(an_open(seq=7)))
    verifier.verify(sign(Channel.OPEN, encode(an_open(seq=8))))
    clock.now_s = CAPTURED_S + 1.0
    with pytest.raises(OpenRejectedError, match="older than the last one"):
        verifier.verify(withheld)


def test_rejected_opening_stays_rejected(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """Made under a clock one day ahead, shown today, and again tomorrow, when it looks fresh."""
    cheque = sign(Channel.OPEN, encode(an_open(at_ns=T0_NS + 86_400 * NS)))
    with pytest.raises(OpenRejectedError, match="from the future"):
        verifier.verify(cheque)
    clock.now_s = CAPTURED_S + 86_400.5
    with pytest.raises(OpenRejectedError, match="seen before"):
        verifier.verify(cheque)


def test_numbers_survive_a_restart_of_the_lock(sign: Signer, clock: Clock, tmp_path: Path) -> None:
    """With a memory file; after the restart the clock shows a time before the capture."""
    memory = tmp_path / "front.number"
    clock.now_s = CAPTURED_S - 1.0
    before = OpenVerifier(public_pem(KEY), "front", memory=memory, clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    before.verify(sign(Channel.OPEN, encode(an_open(seq=8))))
    clock.now_s = CAPTURED_S - 1.0
    after = OpenVerifier(public_pem(KEY), "front", memory=memory, clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    for seq in (7, 8):
        with pytest.raises(OpenRejectedError, match="seen before"):
            after.verify(sign(Channel.OPEN, encode(an_open(seq=seq))))
    assert after.verify(sign(Channel.OPEN, encode(an_open(seq=9)))).person == "ada"


def test_unwritable_memory_rejects_openings(sign: Signer, clock: Clock, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    verifier = OpenVerifier(public_pem(KEY), "front", memory=folder / "number", clock=clock)
    folder.rmdir()
    clock.now_s = CAPTURED_S + 0.5
    with pytest.raises(OpenRejectedError, match="number cannot be stored"):
        verifier.verify(sign(Channel.OPEN, encode(an_open())))


def test_damaged_memory_is_an_error(tmp_path: Path) -> None:
    memory = tmp_path / "number"
    memory.write_text("junk\n")
    with pytest.raises(ValueError, match="contains no number"):
        OpenVerifier(public_pem(KEY), "front", memory=memory)


@pytest.mark.parametrize("seq", [True, "8", 8.0, None, -1, 0])
def test_opening_without_a_number_is_rejected(sign: Signer, verifier: OpenVerifier, seq: object) -> None:
    message = json.loads(encode(an_open())) | {"seq": seq}
    with pytest.raises(OpenRejectedError, match="of version 1"):
        verifier.verify(sign(Channel.OPEN, json.dumps(message).encode()))


def test_verified_content_is_what_was_signed(sign: Signer) -> None:
    """Not the plain fields: 1 and true are equal in Python."""
    sent = json.loads(sign(Channel.OPEN, encode(an_open())))
    content = verify_signature(json.dumps(sent | {"v": True}).encode(), KEY.public_key(), OPEN)
    assert content["v"] is not True


@pytest.mark.parametrize(("after_s", "good"), [(3.9, True), (4.1, False), (3600.0, False), (-0.9, True), (-1.1, False)])
def test_only_fresh_openings_are_accepted(
    sign: Signer, verifier: OpenVerifier, clock: Clock, after_s: float, good: bool
) -> None:
    """Three seconds plus one second of clock difference; commands from the future are rejected, too."""
    clock.now_s = CAPTURED_S + after_s
    sent = sign(Channel.OPEN, encode(an_open()))
    if good:
        verifier.verify(sent)
    else:
        with pytest.raises(OpenRejectedError, match=r"too late|from the future"):
            verifier.verify(sent)


@pytest.mark.parametrize("after_s", [-1.0, 4.0])
def test_bounds_of_freshness_are_inclusive(sign: Signer, clock: Clock, after_s: float) -> None:
    """One second of skew before the capture, and after the expiry."""
    at_s = round(CAPTURED_S)
    verifier = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = at_s + after_s
    assert verifier.verify(sign(Channel.OPEN, encode(an_open(at_ns=at_s * NS)))).person == "ada"


def test_oversized_message_is_rejected(sign: Signer, verifier: OpenVerifier) -> None:
    """Before it is parsed; a message of the largest size is accepted."""
    message = sign(Channel.OPEN, encode(an_open()))
    with pytest.raises(OpenRejectedError, match="too long for a message of a door"):
        verifier.verify(message.ljust(64 * 1024 + 1))
    assert verifier.verify(message.ljust(64 * 1024)).person == "ada"


def test_age_limit_of_the_lock(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A door with a wrong configuration cannot make open commands that are valid for a day."""
    clock.now_s = CAPTURED_S + 12.0
    with pytest.raises(OpenRejectedError, match="too late"):
        verifier.verify(sign(Channel.OPEN, encode(an_open(lasts_s=86_400))))


def test_key_of_another_door_is_rejected(verifier: OpenVerifier, tmp_path: Path) -> None:
    with pytest.raises(OpenRejectedError, match="not signed by this door"):
        verifier.verify(signer_of(OTHER_KEY, tmp_path)(Channel.OPEN, encode(an_open())))


def test_opening_for_another_door_is_rejected(sign: Signer, verifier: OpenVerifier) -> None:
    """Even if both doors have the same key."""
    with pytest.raises(OpenRejectedError, match="meant for door 'back'"):
        verifier.verify(sign(Channel.OPEN, encode(an_open(door="back"))))


def test_event_is_not_an_opening(sign: Signer, verifier: OpenVerifier) -> None:
    """Nor with the bytes of an open command: the type is signed, too."""
    with pytest.raises(OpenRejectedError, match="signed as another type"):
        verifier.verify(sign(Channel.EVENTS, encode(an_open())))
    relabelled = sign(Channel.EVENTS, encode(an_open())).replace(EVENT.encode(), OPEN.encode())
    with pytest.raises(OpenRejectedError, match="altered"):
        verifier.verify(relabelled)


@pytest.mark.parametrize("field", ["payload", "sig"])
def test_junk_in_base64_is_rejected(sign: Signer, verifier: OpenVerifier, field: str) -> None:
    """Decoders that skip it would allow several forms of one message."""
    message = json.loads(sign(Channel.OPEN, encode(an_open())))
    holder = message["dsse"] if field == "payload" else message["dsse"]["signatures"][0]
    holder[field] = "!" + holder[field]
    with pytest.raises(OpenRejectedError, match="not signed"):
        verifier.verify(json.dumps(message).encode())


def test_unsigned_opening_is_rejected(verifier: OpenVerifier) -> None:
    with pytest.raises(OpenRejectedError, match="not signed"):
        verifier.verify(encode(an_open()))


def test_altered_plain_fields_are_rejected(sign: Signer, verifier: OpenVerifier) -> None:
    """A careless consumer might verify the signature and then use the plain fields."""
    sent = json.loads(sign(Channel.OPEN, encode(an_open())))
    sent["person"]["id"] = "mallory"
    with pytest.raises(OpenRejectedError, match="plain fields"):
        verifier.verify(json.dumps(sent).encode())


@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_altered_bit_is_rejected(tmp_path_factory: pytest.TempPathFactory, where: int, bit: int) -> None:
    """Each bit separately: the message is rejected, or its content is exactly the signed one."""
    message, clock = an_open(), Clock()
    verifier = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    sent = bytearray(signer_of(KEY, tmp_path_factory.getbasetemp())(Channel.OPEN, encode(message)))
    sent[where % len(sent)] ^= 1 << bit
    try:
        admitted = verifier.verify(bytes(sent))
    except OpenRejectedError:
        return
    assert (admitted.id, admitted.person, admitted.at) == (message.id, "ada", message.at)


@given(st.binary(max_size=300) | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_random_bytes_are_rejected(junk: bytes) -> None:
    for message in (
        junk,
        b'{"dsse":' + junk + b"}",
        b'{"dsse":{"payload":' + junk + b',"signatures":[]}}',
        b"[" * 9999,
    ):
        with pytest.raises(OpenRejectedError):
            verify_signature(message, KEY.public_key(), OPEN)
    with pytest.raises(OpenRejectedError, match="too long"):
        verify_signature(b" " * 70_000, KEY.public_key(), OPEN)


def test_key_of_another_kind_is_an_error() -> None:
    other = generate_private_key(SECP256R1()).public_key()
    with pytest.raises(ValueError, match="not an Ed25519"):
        OpenVerifier(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "front")


def test_verifier_imports_nothing_of_the_package() -> None:
    """It is copied to locks without the package."""
    source = (Path(__file__).parents[2] / "edge" / "events" / "verifier.py").read_text()
    assert "edge." not in source.split('"""', 2)[2]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", BROKERS)
def test_messages_of_a_real_door_are_accepted(kind: str, tmp_path: Path) -> None:
    """With keys of keys.sh, over MQTT 5 and 3.1.1: an open command, and an event with its publication time."""
    subprocess.run([KEYS, tmp_path, "signing", "front"], check=True, capture_output=True)
    public = (tmp_path / "front.signing.pub").read_bytes()
    assert (tmp_path / "front.signing.key").stat().st_mode & 0o077 == 0
    doors = Topics("home", "front")
    with make_broker(kind, tmp_path) as broker, Outbox(tmp_path / "o.db", OutboxConfig(), announce=announce) as outbox:
        config = msgspec.structs.replace(config_for(broker), signing_key=str(tmp_path / "front.signing.key"))
        verifier = OpenVerifier(public, "front", max_age_s=60.0)
        with (
            Subscriber(config_for(broker), doors, [Channel.OPEN, Channel.EVENTS]) as listener,
            Publisher(config, doors, outbox, on_open_expired=lambda *_: None) as publisher,
        ):
            event = an_event()
            outbox.append(event)
            sent = an_open(at_ns=time.time_ns())
            publisher.open(sent, time.monotonic_ns())
            received: dict[Channel, Any] = {}
            for message in listener.messages(8.0):
                received[message.channel] = message.payload
                if len(received) == 2:
                    break
    assert verifier.verify(received[Channel.OPEN]).id == sent.id
    content = verify_signature(received[Channel.EVENTS], load_key(public), EVENT)
    assert content["id"] == event.id
    assert content["published_at"] is not None
