"""Fuzz targets: files that people write, and the manifest of models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from support.face_images import direction, track
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.enroll.folder import PROFILE_FILE, read_profile
from threshold_tools.evaluate.by_group import read_groups
from threshold_tools.evaluate.cross_validation import read_pairs
from threshold_tools.release.transport import read_lines

from edge.access.policy import Policy
from edge.access.policy_file import parse_policy
from edge.core.config import MqttConfig, RecognitionConfig, read_config
from edge.core.errors import ConfigError, InputError, ModelError, ReleaseError
from edge.core.reasons import Reason
from edge.core.records import Identification, Match, Person, Verdict
from edge.mqtt.broker_endpoint import resolve_endpoint
from edge.replay.expected import read_expected
from edge.vision.manifest import default_folder, read_manifest
from fuzz.target import Parse, Target

ROOT = Path(__file__).parents[2]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENTS_NS = [
    (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000
    for text in ("1971-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-03-29T01:30:00Z", "2200-12-31T23:00:00Z")
]
_CARD = b"""\
id = "anna"
name = "Anna Schmidt"
groups = ["staff", "lab"]
valid_from = 2026-01-01
valid_until = 2026-12-31
"""
_POLICY = b"""\
timezone = "Europe/Berlin"
groups.staff = ["anna", "staff-*"]
holidays = [{ date = "12-25" }, { date = 2026-10-03, like = "sun", name = "x" }]
schedules.work = { mon-fri = ["07:00-18:00"], sat = [], holidays = ["10:00-12:00"] }
schedules.night = { sun = ["22:00-06:00"] }
people.anna = { valid_from = 2026-01-01, valid_until = 2026-12-31T18:00:00 }
people."guest-*" = { valid_until = "2026-12-31" }
[doors.front]
allow = [{ groups = ["staff"], schedule = "work" }, { people = ["*"], schedule = "night" }]
threshold_factor = 0.9
min_samples = 4
[doors."*"]
allow = []
"""
_DOOR = b"""\
site = "home"
door = "front"
[camera]
source = "rtsp://camera.local/stream"
rotate_deg = 90
fps = 15.5
[recognition]
threshold_sq = 0.9
min_samples = 3
[access]
allow = ["anna", "staff-*"]
[mqtt]
url = "mqtt://[::1]:1883"
protocol = "auto"
open_max_age_s = 3.0
[release]
source = "mqtt"
max_mb = 128
"""
_EXPECTED = (
    b'{"kind":"door-open","person":{"id":"anna","name":"Anna"},"t":1.5,"distance_sq":0.5,"box":[1.0,2,3,4]}\n'
    b'{"kind":"unknown","person":null,"t":7}\n\n'
)
_PATHS = [f"{who}/{who}_{number:04d}.jpg" for who in ("anna", "bert", "carla") for number in (1, 2)]


def _door(folder: Path) -> Parse:
    path = folder / "door.toml"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        config = read_config(path)
        if config.mqtt.url.startswith("mqtt://"):  # mqtts:// would load the system's authorities for each input
            resolve_endpoint(MqttConfig(url=config.mqtt.url, insecure=True))
        assert round(config.mqtt.open_max_age_s * 1e9) > 0  # in the publisher's unit
        assert round(config.lockout.lockout_s * 1e9) >= 0

    return parse


def _policy(folder: Path) -> Parse:
    path = folder / "policy.toml"
    match = Match(Person("anna", "Anna"), 0.5, 1.0, 2.0)
    verdict = Verdict(Identification.RECOGNISED, track(), match, direction(0), 3, 1.0, Reason.WITHIN_THRESHOLD, 7)

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        rules = parse_policy(path)
        policy = Policy(rules, "front")
        assert policy.apply_to(RecognitionConfig()).min_samples >= 1
        for wall_ns in (None, *_MOMENTS_NS):
            policy.decide(verdict, 9, wall_ns)

    return parse


def _card(folder: Path) -> Parse:
    path = folder / PROFILE_FILE

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        card = read_profile(folder)
        assert not {"\t", "\n", "\r"} & set((card.id or "") + (card.name or ""))

    return parse


def _manifest(folder: Path) -> Parse:
    path = folder / "manifest.json"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        read_manifest(folder)

    return parse


def _expected(folder: Path) -> Parse:
    path = folder / "expected.jsonl"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        read_expected(path)

    return parse


def _groups(folder: Path) -> Parse:
    path = folder / "groups.csv"
    photos = LabelledEmbeddings(np.zeros((6, 8), np.float32), np.ones(6, bool), _PATHS, "")

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        read_groups(path, photos)

    return parse


def _pairs(folder: Path) -> Parse:
    path = folder / "pairs.txt"
    photos = LabelledEmbeddings(np.zeros((6, 8), np.float32), np.ones(6, bool), _PATHS, "")

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        pairs = read_pairs(path, photos)
        assert len(pairs.first) == len(pairs.second)

    return parse


def _names(folder: Path) -> Parse:
    path = folder / "published.json"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        read_lines(path)

    return parse


_LISTED = [b"anna,women\nbert,men\n", b'person,group\r\nanna,women\r\n"bert","m""en"\r\n']
_FOLDS = [
    b"2\t1\nanna\t1\t2\nanna\t1\tbert\t2\nbert\t1\t2\nanna\t2\tcarla\t1\n",
    b"2 1\nbert 1 2\nbert 1 anna 2\ncarla 1 2\nanna 2 carla 1\n",
]
_TOML = (
    b"mon-sun",
    b"holidays",
    b"Europe/Berlin",
    b"[[doors]]",
    b"= {}",
    b"'''",
    b'"""',
    b"1979-05-27T07:32:00Z",
    b"#",
)
_JSON = (b'"', b",", b":", b'"\\u0000"', b'"\\ud800"', b'{"a":1}', b"1E400", b"\\")

TARGETS = (
    Target(
        "door-toml", "door.toml and the broker's address in it, from the operator",
        lambda: [_DOOR, (ROOT / "systemd" / "door.toml").read_bytes(), b'site = "a"\ndoor = "b"\n'],
        _door, (ConfigError,), 70_000, _TOML,
    ),
    Target(
        "policy-toml", "policy.toml, from the operator or in a signed release; evaluated at four times",
        lambda: [_POLICY, (ROOT / "systemd" / "policy.toml").read_bytes()],
        _policy, (ConfigError,), 50_000, _TOML,
    ),
    Target(
        "person-toml", "person.toml in a folder of photos", lambda: [_CARD, b""], _card, (InputError,), 80_000, _TOML
    ),
    Target(
        "manifest", "models/manifest.json, installed or in a signed release",
        lambda: [(default_folder() / "manifest.json").read_bytes(), b'{"version":1,"models":{}}'],
        _manifest, (ModelError,), 60_000, _JSON,
    ),
    Target(
        "expected-jsonl", "the expected events of a replay",
        lambda: [_EXPECTED, (ROOT / "edge" / "demo" / "expected.jsonl").read_bytes()],
        _expected, (InputError,), 90_000, _JSON,
    ),
    Target("groups-csv", "groups of people, for threshold evaluate", lambda: _LISTED, _groups, (InputError,), 60_000),
    Target("pairs-txt", "a list of pairs, for threshold evaluate", lambda: _FOLDS, _pairs, (InputError,), 60_000),
    Target(
        "sync-names", "the names that threshold sync published before",
        lambda: [msgspec.json.encode(["timestamp.json", "1.root.json", f"{'a' * 64}.piece"]), b"[]"],
        _names, (ReleaseError,), 40_000, _JSON,
    ),
)  # fmt: skip
