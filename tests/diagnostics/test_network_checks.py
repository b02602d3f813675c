"""Checks of the broker, certificates and the metrics port."""

from __future__ import annotations

import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.broker_site import MOSQUITTO_PASSWD, BrokerSite, make_keys, shipped_config
from support.door_checks import PLAIN, a_door, one, write
from support.mqtt_brokers import Mosquitto, free_port, needs_mosquitto

from edge.core.config import (
    MetricsConfig,
)
from edge.demo.run_demo import CLIP, GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.network_checks import check_broker, check_certificates, check_metrics
from edge.diagnostics.report import State


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    make_keys(folder, "ca")
    make_keys(folder, "server", "localhost")
    make_keys(folder, "client", "front")
    shutil.copy(Path(__file__).parents[2] / "systemd/mosquitto/threshold.acl", folder)
    (folder / "passwords").touch()
    return folder


def open_site(folder: Path, tmp_path: Path) -> Mosquitto:
    return Mosquitto(tmp_path, conf=shipped_config(folder, free_port()))


@needs_mosquitto
def test_certificates_with_names_and_expiry(site: Path, tmp_path: Path) -> None:
    with open_site(site, tmp_path) as mosquitto:
        config = msgspec.structs.replace(PLAIN, mqtt=BrokerSite(site, mosquitto.port, 0).member("front"))
        assert check_broker(config.mqtt).state is State.OK
        now = datetime.now(UTC)
        shown = list(check_certificates(config, now))
        assert [finding.state for finding in shown] == [State.OK] * 3  # broker, door, authority
        assert "issued for localhost" in shown[0].detail
        late = list(check_certificates(config, now + timedelta(days=20_000)))
        assert [finding.state for finding in late] == [State.FAIL] * 3
        early = list(check_certificates(config, now - timedelta(days=5)))
        assert all("not valid before" in finding.detail for finding in early)


@needs_mosquitto
def test_broker_with_expired_certificate(site: Path, tmp_path: Path) -> None:
    for name in ("server.key", "server.crt"):
        (site / name).unlink()
    make_keys(site, "server", "localhost", days=-1)
    with open_site(site, tmp_path) as mosquitto:
        member = BrokerSite(site, mosquitto.port, 0).member("front")
        path = tmp_path / "door.toml"
        path.write_text(
            f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}"\ngallery = "{GALLERY}"\n[camera]\nsource = "{CLIP}"\n'
            f'[mqtt]\nurl = "{member.url}"\nca_file = "{member.ca_file}"\n'
            f'cert_file = "{member.cert_file}"\nkey_file = "{member.key_file}"\n'
        )
        found = list(check(path))
    assert "has expired" in one(found, "broker").detail
    (shown,) = [finding for finding in found if finding.what == "tls" and finding.state is State.FAIL]
    assert "broker, issued for localhost: expired on" in shown.detail


def test_metrics_port_taken_or_open_to_all() -> None:
    config = MetricsConfig(port=free_port())
    assert check_metrics(config, "s").state is State.OK
    assert (
        "for everybody who can reach it" in check_metrics(MetricsConfig(listen="0.0.0.0", port=config.port), "s").detail
    )
    with socket.create_server(("127.0.0.1", config.port)):
        assert check_metrics(config, "s").state is State.FAIL


@needs_mosquitto
def test_remedy_for_a_refused_login(tmp_path: Path) -> None:
    """The remedy for a wrong password is not to install a broker."""
    subprocess.run(
        [MOSQUITTO_PASSWD, "-b", "-c", tmp_path / "users", "front", "open sesame"], check=True, capture_output=True
    )
    password = write(tmp_path / "password", "wrong\n")
    with Mosquitto(tmp_path, conf=f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n") as broker:
        login = f'[mqtt]\nurl = "{broker.url}"\nusername = "front"\npassword_file = "{password}"\n'
        refused = one(check(a_door(tmp_path, login)), "broker")
    down = one(check(a_door(tmp_path, login)), "broker")
    assert refused.remedy == "check [mqtt] username and password_file, and the broker's rules"
    assert down.remedy.startswith("start the broker")
    wrong = one(check(a_door(tmp_path, '[mqtt]\nurl = "mqtt://elsewhere"\n')), "broker")
    assert wrong.remedy.startswith("use mqtts://elsewhere")
