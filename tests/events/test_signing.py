"""Signed messages: a standard DSSE envelope next to the plain fields, on the channels with a payload type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from support.monitor_fleet import a_health, a_release, a_status
from support.mqtt_brokers import Relay, an_event, announce, config_for, make_broker
from support.signing_keys import KEY, an_open, public_pem

from edge.core.config import MqttConfig, OutboxConfig
from edge.core.errors import ConfigError
from edge.events.schema import Record, decode, encode
from edge.events.signing import DSSE_PAYLOAD_TYPES, Signer, load_signer
from edge.events.topics import Channel, Topics
from edge.events.verifier import (
    EVENT,
    HEALTH,
    OPEN,
    RELEASE,
    STATUS,
    OpenRejectedError,
    verify_signature,
)
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.outbox.outbox import Outbox


def test_envelope_is_standard_dsse(sign: Signer) -> None:
    """Another implementation verifies it, and its payload is the unsigned message byte for byte."""
    plain = encode(an_open())
    sent = json.loads(sign(Channel.OPEN, plain))
    envelope = Envelope.from_dict(sent["dsse"])
    envelope.verify([SSlibKey.from_crypto(KEY.public_key())], 1)
    assert (envelope.payload, envelope.payload_type) == (plain, DSSE_PAYLOAD_TYPES[Channel.OPEN])


def test_plain_fields_are_unchanged(sign: Signer) -> None:
    """The signature is one more key; without a signing key the bytes are the same as before."""
    message = an_open()
    records: dict[Channel, Record] = {
        Channel.EVENTS: an_event(),
        Channel.OPEN: message,
        Channel.RELEASE: a_release("front", 12),
        Channel.STATUS: a_status("front"),
        Channel.HEALTH: a_health("front", 3),
    }
    for channel, record in records.items():
        sent = sign(channel, encode(record))
        assert b"dsse" in sent
        assert decode(channel, sent) == record
    assert load_signer(MqttConfig())(Channel.OPEN, encode(message)) == encode(message)


def test_challenges_and_presence_are_not_signed(sign: Signer) -> None:
    for channel in (Channel.CHALLENGE, Channel.PRESENCE):
        assert sign(channel, b"{}") == b"{}"


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
def test_signed_channels_and_their_types(sign: Signer, channel: Channel, kind: str) -> None:
    """A message signed for one channel is invalid on another."""
    sent = sign(channel, b'{"v":1}')
    assert verify_signature(sent, KEY.public_key(), kind) == {"v": 1}
    for other in {OPEN, EVENT, RELEASE, STATUS, HEALTH} - {kind}:
        with pytest.raises(OpenRejectedError, match="signed as another type"):
            verify_signature(sent, KEY.public_key(), other)


def test_last_will_is_signed(tmp_path: Path, sign: Signer) -> None:
    """The broker publishes the status that the door has signed."""
    assert sign(Channel.STATUS, b'{"v":1}') != b'{"v":1}', "the fixture has written the key"
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
    assert said == ["connected", "connection-lost"]


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
def test_unusable_signing_key_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"signing_key.*openssl genpkey -algorithm ed25519") as caught:
        load_signer(MqttConfig(signing_key=str(file)))
    assert "\n" not in str(caught.value)
