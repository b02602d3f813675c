"""Fuzz targets: messages and files from the network."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import tempfile
import threading
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support.release_signer import NOW, ReleaseSigner

from edge.cli.events import as_json
from edge.cli.message_lines import MessageFormatter
from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, ReleaseError
from edge.core.terminal import Terminal
from edge.events.schema import decode, encode
from edge.events.signing import load_signer
from edge.events.topics import Channel, Topics, repo_name, repo_topic
from edge.events.verifier import EVENT, OPEN, OpenRejectedError, OpenVerifier, load_key, verify_signature
from edge.mqtt import subscriber
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.mqtt.paho_client import IncomingMessage, PahoClient
from edge.updates.release_format import FILE_BYTES, decode_release, is_repo_name
from edge.updates.tuf_client import read_root, verify_release
from fuzz.formats import pack, unpack
from fuzz.target import Parse, Target, UnreadError

_MAX_BYTES = 64 * 1024 * 1024
_AT = "2026-11-22T12:00:00.000Z"
_PERSON = {"id": "anna", "name": "Änna"}
_EVENT = {
    "v": 1, "id": "0193-x", "seq": 7, "door": "front", "kind": "door-open", "at": _AT, "published_at": _AT,
    "person": _PERSON, "distance_sq": 0.5, "threshold_sq": 1.0, "runner_up_sq": 1.5, "samples": 3, "quality": 0.9,
    "reason": "within-threshold", "rule": "allow *", "track": 1, "box": {"left": 1, "top": 2, "right": 3, "bottom": 4},
    "clock_synced": True, "gallery": {"version": "7"}, "models": {"embedder": "0123"}, "dropped": None,
}  # fmt: skip
_OPEN = {"v": 1, "id": "0193-x", "seq": 7, "door": "front", "person": _PERSON, "at": _AT, "expires_at": _AT}
_STATUS = {"v": 1, "door": "front", "status": "online", "reason": "connected", "since": _AT}
_HEALTH = {
    "v": 1, "door": "front", "at": _AT, "uptime_s": 9.5, "camera": "working", "fps": 15.0, "frames": 9, "dropped": 0,
    "stages": {"detect": {"runs": 9, "median_ms": 3.5, "p95_ms": 4.0}}, "rejects": {"quality": {"blurred": 3}},
    "temperature_c": 40.5, "outbox_depth": 0, "gallery": {"version": "7"}, "models": {}, "problems": ["none"],
}  # fmt: skip
_RELEASE = {
    "v": 1, "door": "front", "release": 3, "applied_at": _AT, "ok": True, "reason": "applied", "people": 2,
    "gallery": None, "models": {},
}  # fmt: skip
_CHALLENGE = {
    "v": 1, "door": "front", "id": "0193-x", "at": _AT, "expires_at": _AT, "ask": "turn-left", "state": "asked",
    "step": 1, "steps": 2, "reason": "",
}  # fmt: skip
_PRESENCE = {"v": 1, "door": "front", "at": _AT, "somebody": True}
_RECORDS = {
    Channel.EVENTS: _EVENT,
    Channel.OPEN: _OPEN,
    Channel.STATUS: _STATUS,
    Channel.HEALTH: _HEALTH,
    Channel.RELEASE: _RELEASE,
    Channel.CHALLENGE: _CHALLENGE,
    Channel.PRESENCE: _PRESENCE,
}
_JSON = (
    b'"',
    b",",
    b":",
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\u001b[2J"',
    b"\\n",
    b'{"a":1}',
    b'"threshold_sq":null',
    b"\n",
)


def _messages() -> list[bytes]:
    return [
        pack(Topics("home", "front").topic_for(one).encode(), msgspec.json.encode(it)) for one, it in _RECORDS.items()
    ]


def _message(_: Path) -> Parse:
    """Both formats of `edge events` print each message as one line without control characters."""

    def parse(content: bytes) -> None:
        topic, payload = unpack(content, 2)
        text = topic.decode(errors="replace")  # paho rejects other topics
        name = repo_name("home", text)
        if name is not None and is_repo_name(name):
            assert "/" not in name
            assert ".." not in name
        message = subscriber.decode_message(IncomingMessage(text, payload, False))
        if message is None or message.problem:
            raise UnreadError
        if message.record is not None:
            assert decode(message.channel, encode(message.record)) == message.record
        for line in (*MessageFormatter(Terminal(io.StringIO())).lines(message), as_json(message)):
            line.encode()
            assert line.isprintable(), f"not one printable line: {line!r:.200}"

    return parse


def _signed() -> tuple[dict[Channel, bytes], bytes, Ed25519PrivateKey]:
    """Return signed messages, the public key and the private key; the same at every call."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        seal = load_signer(MqttConfig(signing_key=file.name))
    messages = {one: seal(one, msgspec.json.encode(_RECORDS[one])) for one in (Channel.OPEN, Channel.EVENTS)}
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return messages, public, key


def _seal(_: Path) -> Parse:
    """An accepted mutation of a signed message has the signed content."""
    messages, public, _key = _signed()
    key = load_key(public)
    now = datetime.fromisoformat(_AT).timestamp()

    def parse(content: bytes) -> None:
        with contextlib.suppress(OpenRejectedError):
            assert verify_signature(content, key, EVENT) == _EVENT
            return
        guard = OpenVerifier(public, "front", clock=lambda: now)
        opening = guard.verify(content)
        assert (opening.person, opening.at) == ("anna", _AT)
        assert verify_signature(content, key, OPEN) == _OPEN

    assert messages
    return parse


def _release_list(_: Path) -> Parse:
    def parse(content: bytes) -> None:
        release = decode_release(content, _MAX_BYTES)
        assert sum(piece.length for entry in release.files for piece in entry.pieces) <= _MAX_BYTES
        assert not any(".." in entry.name or entry.name.startswith("/") for entry in release.files)

    return parse


class _Signed:
    """A repository with one release, made at the first use."""

    def __init__(self) -> None:
        self.folder = Path("")
        self.files: dict[str, bytes] = {}
        self.root = b""

    def made(self) -> _Signed:
        if not self.files:
            with tempfile.TemporaryDirectory() as name:
                desk = ReleaseSigner(Path(name) / "desk")
                desk.release([1, 2, 3])
                self.files, self.root = desk.files(), desk.root
        return self

    @property
    def listed(self) -> bytes:
        (content,) = (content for name, content in self.files.items() if name.endswith("release.json"))
        return content


_REPOSITORY = _Signed()


def _metadata_seeds() -> list[bytes]:
    files = _REPOSITORY.made().files
    return [pack(name.encode(), content) for name, content in files.items() if name.endswith(".json")]


def _metadata(folder: Path) -> Parse:
    """With one altered file in a signed repository, a door accepts the genuine release or none."""
    signed = _REPOSITORY.made()
    kept = folder / "metadata"

    def parse(content: bytes) -> None:
        name, altered = unpack(content, 2)
        files = signed.files | {name.decode(errors="replace"): altered}
        shutil.rmtree(kept, ignore_errors=True)
        asked: list[str] = []

        def fetch(wanted: str) -> bytes | None:
            asked.append(wanted)
            return files.get(wanted, b"")[: FILE_BYTES + 1] or None

        try:
            assert verify_release(kept, fetch, signed.root, NOW) == signed.listed
        finally:
            assert all(map(is_repo_name, asked)), asked

    return parse


def _root(_: Path) -> Parse:
    def parse(content: bytes) -> None:
        read_root(content)

    return parse


_CONNACK = b"\x20\x03\x00\x00\x00"
_TOPIC = Topics("home", "front").topic_for(Channel.EVENTS).encode()


def _publish(topic: bytes, payload: bytes, properties: bytes = b"\x00") -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + b"\x00\x01" + properties + payload
    length = bytes([len(body) % 128 | 0x80, len(body) // 128]) if len(body) > 127 else bytes([len(body)])
    return b"\x32" + length + body


def _packets() -> list[bytes]:
    """Packets of a broker, MQTT 5."""
    event = msgspec.json.encode(_EVENT)
    return [
        _CONNACK + b"\x90\x04\x00\x01\x00\x01" + _publish(_TOPIC, event) + b"\xd0\x00",
        b"\x20\x0b\x01\x00\x08\x21\x00\x14\x12\x00\x03abc" + b"\x40\x02\x00\x01" + b"\x40\x04\x00\x02\x87\x00",
        _CONNACK + _publish(repo_topic("home", "timestamp.json").encode(), b"{}", b"\x05\x02\x00\x00\x00\x09"),
        _CONNACK + b"\xe0\x02\x8e\x00" + b"\xb0\x04\x00\x03\x00\x00",
    ]


class _HostileBroker:
    """Accepts connections in a thread, sends `words` to each and closes it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.words = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            guest, _ = self._server.accept()
            with guest, contextlib.suppress(OSError):
                guest.settimeout(1.0)
                guest.recv(4096)
                guest.sendall(self.words)
                guest.shutdown(socket.SHUT_WR)
                while guest.recv(65536):
                    pass


def _broker(_: Path) -> Parse:
    """For any bytes from a broker, the connection continues or raises BrokerError."""
    broker = _HostileBroker()
    endpoint = resolve_endpoint(MqttConfig(url=f"mqtt://127.0.0.1:{broker.port}"))

    def parse(content: bytes) -> None:
        broker.words = content
        connection = PahoClient(endpoint, "5", client_id="fuzz", keepalive_s=30, max_packet_bytes=FILE_BYTES)
        with contextlib.ExitStack() as stack, contextlib.suppress(BrokerError):
            stack.callback(connection.abort)
            while True:  # ends when the broker closes the connection
                connection.poll(0.2)
                for message in connection.take_messages():
                    subscriber.decode_message(message)
                connection.take_acks()

    return parse


def _lists() -> list[bytes]:
    return [_REPOSITORY.made().listed]


TARGETS = (
    Target(
        "mqtt-message", "topics and payloads as `edge events`, `threshold sync status` and the outbox read them",
        _messages, _message, (UnreadError,), 150_000, _JSON,
    ),
    Target(
        "mqtt-packets", "the bytes of a hostile broker, through paho, on a real socket",
        _packets, _broker, (), 10_000, (b"\x30", b"\x32", b"\x62", b"\xff\xff\xff\x7f", b"\x26"),
    ),
    Target(
        "signed-message", "signed events and openings as a lock reads them; altered content is never accepted",
        lambda: list(_signed()[0].values()), _seal, (OpenRejectedError,), 60_000, _JSON,
    ),
    Target(
        "release-list", "release.json, signed with a stolen key", _lists, _release_list, (ReleaseError,), 80_000,
        _JSON,
    ),
    Target(
        "tuf-metadata", "a repository with one altered file: a door accepts the genuine release or none",
        _metadata_seeds, _metadata, (ReleaseError,), 6_000, _JSON,
    ),
    Target(
        "tuf-root", "the root metadata that an operator gives to `edge release trust-root`",
        lambda: [_REPOSITORY.made().root], _root, (ReleaseError,), 20_000, _JSON,
    ),
)  # fmt: skip
