"""Signed open commands: what a lock accepts, once and in time, and what it rejects."""

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
    """A lock's wall clock that goes when the test says so, from just after the capture."""

    def __init__(self) -> None:
        self.now_s = CAPTURED_S - 60.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> OpenVerifier:
    """The lock of "front", switched on a minute before the capture; now it is half a second after it."""
    made = OpenVerifier(public_pem(KEY), "front", clock=clock)
    clock.now_s = CAPTURED_S + 0.5
    return made


def test_a_fresh_opening_of_this_door_is_admitted(sign: Signer, verifier: OpenVerifier) -> None:
    message = an_open()
    admitted = verifier.verify(sign(Channel.OPEN, encode(message)))
    assert (admitted.id, admitted.person, admitted.at) == (message.id, "ada", message.at)


def test_a_replay_is_refused_even_if_the_lock_s_clock_has_gone_back(
    sign: Signer, verifier: OpenVerifier, clock: Clock
) -> None:
    sent = sign(Channel.OPEN, encode(an_open()))
    verifier.verify(sent)
    for now_s in (CAPTURED_S + 0.6, CAPTURED_S, CAPTURED_S - 0.9):
        clock.now_s = now_s
        with pytest.raises(OpenRejectedError, match="seen before"):
            verifier.verify(sent)


def test_a_replay_after_the_lock_was_restarted_is_refused(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A new verifier remembers nothing, so it takes nothing from before its time."""
    sent = sign(Channel.OPEN, encode(an_open()))
    verifier.verify(sent)
    with pytest.raises(OpenRejectedError, match="before this verifier started"):
        OpenVerifier(public_pem(KEY), "front", clock=clock).verify(sent)


def test_opening_captured_as_the_lock_starts(sign: Signer, clock: Clock) -> None:
    """That is not before it."""
    at_ns = round(CAPTURED_S) * NS
    clock.now_s = float(round(CAPTURED_S))
    verifier = OpenVerifier(public_pem(KEY), "front", clock=clock)
    assert verifier.verify(sign(Channel.OPEN, encode(an_open(at_ns=at_ns)))).person == "ada"


def test_replay_behind_a_later_opening(sign: Signer, verifier: OpenVerifier) -> None:
    """Whatever number of openings came in between."""
    first, second, third = (sign(Channel.OPEN, encode(an_open(seq=seq))) for seq in (1, 2, 3))
    for sent in (first, second, third):
        verifier.verify(sent)
    for sent in (first, second, third):
        with pytest.raises(OpenRejectedError, match="seen before"):
            verifier.verify(sent)


def test_withheld_opening_after_a_clock_step(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A broker keeps one back and passes on the next; a day later the lock's clock is set back: it stays shut."""
    withheld = sign(Channel.OPEN, encode(an_open(seq=7)))
    verifier.verify(sign(Channel.OPEN, encode(an_open(seq=8))))
    clock.now_s = CAPTURED_S + 1.0
    with pytest.raises(OpenRejectedError, match="older than the last one"):
        verifier.verify(withheld)


def test_opening_that_was_refused_once_stays_refused(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """Made under a clock a day ahead, shown today, and again tomorrow, when it looks fresh."""
    cheque = sign(Channel.OPEN, encode(an_open(at_ns=T0_NS + 86_400 * NS)))
    with pytest.raises(OpenRejectedError, match="from the future"):
        verifier.verify(cheque)
    clock.now_s = CAPTURED_S + 86_400.5
    with pytest.raises(OpenRejectedError, match="seen before"):
        verifier.verify(cheque)


def test_numbers_outlive_a_restart_of_the_lock(sign: Signer, clock: Clock, tmp_path: Path) -> None:
    """With a memory; it comes back while its clock shows a moment before the capture."""
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


def test_nothing_opens_that_cannot_be_remembered(sign: Signer, clock: Clock, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    verifier = OpenVerifier(public_pem(KEY), "front", memory=folder / "number", clock=clock)
    folder.rmdir()
    clock.now_s = CAPTURED_S + 0.5
    with pytest.raises(OpenRejectedError, match="number cannot be stored"):
        verifier.verify(sign(Channel.OPEN, encode(an_open())))


def test_damaged_memory_keeps_the_lock_from_starting(tmp_path: Path) -> None:
    memory = tmp_path / "number"
    memory.write_text("junk\n")
    with pytest.raises(ValueError, match="contains no number"):
        OpenVerifier(public_pem(KEY), "front", memory=memory)


@pytest.mark.parametrize("seq", [True, "8", 8.0, None, -1, 0])
def test_opening_without_a_number_is_refused(sign: Signer, verifier: OpenVerifier, seq: object) -> None:
    message = json.loads(encode(an_open())) | {"seq": seq}
    with pytest.raises(OpenRejectedError, match="of version 1"):
        verifier.verify(sign(Channel.OPEN, json.dumps(message).encode()))


def test_verified_content_is_what_was_signed(sign: Signer) -> None:
    """Not the plain fields beside it: JSON's 1 and true are equal to Python."""
    sent = json.loads(sign(Channel.OPEN, encode(an_open())))
    content = verify_signature(json.dumps(sent | {"v": True}).encode(), KEY.public_key(), OPEN)
    assert content["v"] is not True


@pytest.mark.parametrize(("after_s", "good"), [(3.9, True), (4.1, False), (3600.0, False), (-0.9, True), (-1.1, False)])
def test_only_what_is_fresh_is_admitted(
    sign: Signer, verifier: OpenVerifier, clock: Clock, after_s: float, good: bool
) -> None:
    """Three seconds, and one by which the clocks may differ; what comes from the future is no better."""
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


def test_oversized_message_is_refused(sign: Signer, verifier: OpenVerifier) -> None:
    """Before it is parsed; one of the largest size is not."""
    message = sign(Channel.OPEN, encode(an_open()))
    with pytest.raises(OpenRejectedError, match="too long for a message of a door"):
        verifier.verify(message.ljust(64 * 1024 + 1))
    assert verifier.verify(message.ljust(64 * 1024)).person == "ada"


def test_the_lock_has_an_age_limit_of_its_own(sign: Signer, verifier: OpenVerifier, clock: Clock) -> None:
    """A door that is configured carelessly cannot make openings that last for a day."""
    clock.now_s = CAPTURED_S + 12.0
    with pytest.raises(OpenRejectedError, match="too late"):
        verifier.verify(sign(Channel.OPEN, encode(an_open(lasts_s=86_400))))


def test_another_door_s_key_opens_nothing_here(verifier: OpenVerifier, tmp_path: Path) -> None:
    with pytest.raises(OpenRejectedError, match="not signed by this door"):
        verifier.verify(signer_of(OTHER_KEY, tmp_path)(Channel.OPEN, encode(an_open())))


def test_an_opening_for_another_door_opens_nothing_here(sign: Signer, verifier: OpenVerifier) -> None:
    """Not even with the same key in both doors."""
    with pytest.raises(OpenRejectedError, match="meant for door 'back'"):
        verifier.verify(sign(Channel.OPEN, encode(an_open(door="back"))))


def test_an_event_is_no_opening(sign: Signer, verifier: OpenVerifier) -> None:
    """Also one whose bytes are those of an opening: the type is signed, too."""
    with pytest.raises(OpenRejectedError, match="signed as another type"):
        verifier.verify(sign(Channel.EVENTS, encode(an_open())))
    relabelled = sign(Channel.EVENTS, encode(an_open())).replace(EVENT.encode(), OPEN.encode())
    with pytest.raises(OpenRejectedError, match="altered"):
        verifier.verify(relabelled)


@pytest.mark.parametrize("field", ["payload", "sig"])
def test_junk_within_base64_is_refused(sign: Signer, verifier: OpenVerifier, field: str) -> None:
    """Decoders that skip it would let one message have many forms."""
    message = json.loads(sign(Channel.OPEN, encode(an_open())))
    holder = message["dsse"] if field == "payload" else message["dsse"]["signatures"][0]
    holder[field] = "!" + holder[field]
    with pytest.raises(OpenRejectedError, match="not signed"):
        verifier.verify(json.dumps(message).encode())


def test_an_unsigned_opening_is_refused(verifier: OpenVerifier) -> None:
    with pytest.raises(OpenRejectedError, match="not signed"):
        verifier.verify(encode(an_open()))


def test_plain_fields_that_were_altered_are_noticed(sign: Signer, verifier: OpenVerifier) -> None:
    """Otherwise a careless reader would check the signature and believe what stands beside it."""
    sent = json.loads(sign(Channel.OPEN, encode(an_open())))
    sent["person"]["id"] = "mallory"
    with pytest.raises(OpenRejectedError, match="plain fields"):
        verifier.verify(json.dumps(sent).encode())


@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_altered_bit_opens(tmp_path_factory: pytest.TempPathFactory, where: int, bit: int) -> None:
    """Each bit, one at a time: either what is admitted is exactly what was signed, or it is refused."""
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
def test_any_bytes_are_refused_and_never_an_unexpected_error(junk: bytes) -> None:
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
        verifier = OpenVerifier(public, "front", max_age_s=60.0)
        with (
            Subscriber(config_for(broker), doors, [Channel.OPEN, Channel.EVENTS]) as listener,
            Publisher(config, doors, outbox, on_open_expired=lambda *_: None) as publisher,
        ):
            event = an_event()
            outbox.append(event)
            sent = an_open(at_ns=time.time_ns())
            publisher.open(sent, time.monotonic_ns())
            heard: dict[Channel, Any] = {}
            for message in listener.messages(8.0):
                heard[message.channel] = message.payload
                if len(heard) == 2:
                    break
    assert verifier.verify(heard[Channel.OPEN]).id == sent.id
    content = verify_signature(heard[Channel.EVENTS], load_key(public), EVENT)
    assert content["id"] == event.id
    assert content["published_at"] is not None
