"""Signing keys of doors in tests, and signed messages."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.core.config import MqttConfig
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, OpenCommand, PersonRef
from edge.events.signing import Signer, load_signer
from support.mqtt_brokers import IDS, T0_NS

KEY = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"b" * 32)


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signer_of(key: Ed25519PrivateKey, folder: Path) -> Signer:
    """Return the signer of a door; its key is written into a folder."""
    file = folder / "signing.key"
    file.write_bytes(pem(key))
    return load_signer(MqttConfig(signing_key=str(file)))


def an_open(door: str = "front", at_ns: int = T0_NS, lasts_s: float = 3.0, seq: int = 7) -> OpenCommand:
    """Return an open command for Ada."""
    return OpenCommand(
        v=VERSION,
        id=IDS.new(at_ns // 10**6),
        seq=seq,
        door=door,
        person=PersonRef(id="ada", name="Ada Lovelace"),
        at=format_unix_ns(at_ns),
        expires_at=format_unix_ns(at_ns + round(lasts_s * 1e9)),
    )
