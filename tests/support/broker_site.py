"""The shipped Mosquitto configuration of a site on free ports, with real keys."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.core.config import MqttConfig

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def make_keys(folder: Path, *words: str, days: int | None = None) -> None:
    """Run keys.sh as an operator does."""
    extra = {} if days is None else {"DAYS": str(days)}
    subprocess.run([SHIPPED / "keys.sh", folder, *words], check=True, capture_output=True, env=os.environ | extra)


@dataclass(frozen=True)
class BrokerSite:
    """A broker with the shipped configuration, on free ports and with its files in a test folder."""

    folder: Path
    port: int
    password_port: int

    def member(self, name: str) -> MqttConfig:
        """Return the [mqtt] table of a client with a certificate."""
        return MqttConfig(
            url=f"mqtts://localhost:{self.port}",
            ca_file=str(self.folder / "ca.crt"),
            cert_file=str(self.folder / f"{name}.crt"),
            key_file=str(self.folder / f"{name}.key"),
        )

    def login(self, password_file: str, username: str = "front") -> MqttConfig:
        """Return the [mqtt] table of a client with a password."""
        return MqttConfig(
            url=f"mqtts://localhost:{self.password_port}",
            ca_file=str(self.folder / "ca.crt"),
            username=username,
            password_file=password_file,
        )


def shipped_config(folder: Path, password_port: int) -> str:
    """Return threshold.conf without the line of the first listener, which `Mosquitto` writes."""
    text = (SHIPPED / "threshold.conf").read_text()
    assert text.count("\nlistener 8883\n") == text.count("\nlistener 8884\n") == 1
    text = text.replace("\nlistener 8883\n", "\n").replace("listener 8884", f"listener {password_port} 127.0.0.1")
    return text.replace("/etc/mosquitto/threshold/", f"{folder}/")
