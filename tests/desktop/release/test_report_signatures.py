"""Release reports that a door has signed, and what `threshold sync status` says of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.monitor_fleet import a_release
from support.mqtt_brokers import Mosquitto, announce, config_for, needs_mosquitto, wait_until
from threshold_tools.release.signatures import read_keys
from threshold_tools.release.site_status import SiteReports

from edge.core.config import MqttConfig, OutboxConfig
from edge.events.schema import decode, encode
from edge.events.signing import load_signer
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import ConnectionStatus
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Message
from edge.outbox.outbox import Outbox

ROOT = Path(__file__).parents[3]
KEYS_SH = ROOT / "systemd" / "mosquitto" / "keys.sh"
SITE = "home"
REPORT = encode(a_release("front", 12))
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def status(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `threshold sync status` as an operator does."""
    command = [sys.executable, "tools/sync.py", "status", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def door_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signing keys of two doors, by the script that makes them."""
    folder = tmp_path_factory.mktemp("door-keys")
    for door in ("front", "back"):
        subprocess.run([KEYS_SH, folder, "signing", door], check=True, capture_output=True)
    return folder


def signed_by(door: str, folder: Path, payload: bytes, channel: Channel = Channel.RELEASE) -> bytes:
    return load_signer(MqttConfig(signing_key=str(folder / f"{door}.signing.key")))(channel, payload)


@needs_openssl
@pytest.mark.parametrize(
    ("forge", "signature", "ok"),
    [
        (lambda keys: signed_by("front", keys, REPORT), "verified", True),
        (lambda _: REPORT, "unsigned", False),
        (lambda keys: signed_by("back", keys, REPORT), "wrongly signed", False),
        (lambda keys: signed_by("front", keys, encode(a_release("back", 12))), "wrongly signed", False),
        (lambda keys: signed_by("front", keys, REPORT, Channel.EVENTS), "wrongly signed", False),
        (
            lambda keys: signed_by("front", keys, encode(a_release("front", 11))).replace(b":11,", b":12,", 1),
            "wrongly signed",
            False,
        ),
    ],
    ids=["own", "stripped", "another key", "another door", "another type", "altered"],
)
def test_release_reports_count_if_the_door_signed_them(
    door_keys: Path, forge: Callable[[Path], bytes], signature: str, ok: bool
) -> None:
    """Where the door's key is known; a broker can forge every other report."""
    roll = SiteReports(12, (), 0.0, 100.0, read_keys(door_keys))
    payload = forge(door_keys)
    record = decode(Channel.RELEASE, payload)
    roll.update(Message("", Topics(SITE, "front"), Channel.RELEASE, payload, record, "", True), 100.0)
    (door,) = roll.site().doors
    assert (door.signature, door.ok) == (signature, ok)
    assert ("cannot be trusted" in door.reason) is not ok


@needs_openssl
@pytest.mark.parametrize(("sign", "signature"), [(True, "signed, not checked"), (False, "unsigned")])
def test_release_report_of_a_door_without_a_known_key(door_keys: Path, sign: bool, signature: str) -> None:
    """It counts as ever, and `status` says what it rests on."""
    roll = SiteReports(12, (), 0.0, 100.0)
    payload = signed_by("front", door_keys, REPORT) if sign else REPORT
    record = decode(Channel.RELEASE, payload)
    roll.update(Message("", Topics(SITE, "front"), Channel.RELEASE, payload, record, "", True), 100.0)
    (door,) = roll.site().doors
    assert (door.signature, door.ok) == (signature, True)


@needs_mosquitto
@needs_openssl
def test_status_verifies_what_a_door_reports(door_keys: Path, tmp_path: Path) -> None:
    """From a door's own publisher to the operator's line."""
    with Mosquitto(tmp_path) as broker:
        config = config_for(broker, signing_key=str(door_keys / "front.signing.key"))
        options = ("--broker", broker.url, "--site", SITE)
        with (
            Outbox(tmp_path / "outbox.db", OutboxConfig(), announce=announce) as outbox,
            Publisher(config, Topics(SITE, "front"), outbox, on_open_expired=lambda *_: None) as door,
        ):
            wait_until(lambda: door.state.status is ConnectionStatus.ONLINE, "online")
            door.release(a_release("front", 12))
        ran = status(*options, "--door-keys", str(door_keys))
        assert ran.returncode == 0, ran.stderr
        assert "(report verified)" in ran.stdout
        ran = status(*options, "--door-keys", str(tmp_path))
        assert ran.returncode != 0
        assert "holds no DOOR.signing.pub" in ran.stderr
