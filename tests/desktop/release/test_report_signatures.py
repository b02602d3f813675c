"""Release reports signed by doors, and their verification in `threshold sync status`."""

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
    """Signing keys of two doors, made by keys.sh."""
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
def test_only_reports_signed_by_the_door_count(
    door_keys: Path, forge: Callable[[Path], bytes], signature: str, ok: bool
) -> None:
    """If the key of the door is known. A broker can forge all other reports."""
    roll = SiteReports(12, (), 0.0, 100.0, read_keys(door_keys))
    payload = forge(door_keys)
    record = decode(Channel.RELEASE, payload)
    roll.update(Message("", Topics(SITE, "front"), Channel.RELEASE, payload, record, "", True), 100.0)
    (door,) = roll.site().doors
    assert (door.signature, door.ok) == (signature, ok)
    assert ("do not trust it" in door.reason) is not ok


@needs_openssl
@pytest.mark.parametrize(("sign", "signature"), [(True, "signed, not checked"), (False, "unsigned")])
def test_release_report_of_a_door_without_a_known_key(door_keys: Path, sign: bool, signature: str) -> None:
    """It counts, and `status` shows whether it is signed."""
    roll = SiteReports(12, (), 0.0, 100.0)
    payload = signed_by("front", door_keys, REPORT) if sign else REPORT
    record = decode(Channel.RELEASE, payload)
    roll.update(Message("", Topics(SITE, "front"), Channel.RELEASE, payload, record, "", True), 100.0)
    (door,) = roll.site().doors
    assert (door.signature, door.ok) == (signature, True)


@needs_mosquitto
@needs_openssl
def test_status_verifies_the_report_of_a_running_door(door_keys: Path, tmp_path: Path) -> None:
    """From the publisher of a door to the line that the operator reads."""
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
        assert "contains no DOOR.signing.pub" in ran.stderr
